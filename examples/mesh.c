/* mesh.c: two programs that share a counter and see each other's changes, with libselvage-mesh.
 *
 *     cc mesh.c $(pkg-config --cflags --libs selvage-mesh) -o mesh
 *     ./mesh FOLDER LISTEN                    prints this node's key, and counts
 *     ./mesh FOLDER LISTEN KEY@HOST:PORT      with another one, which was told this one's key
 *
 * Without a peer's address, KEY alone lets it in. Each second one is added; Ctrl-C ends it. */
#include <selvage_mesh.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t is_ending;

static void on_signal(int sig) {
    (void)sig;
    is_ending = 1;
}

static void on_log(void *ctx, int level, const char *line) {
    (void)ctx, (void)level;
    fprintf(stderr, "%s\n", line);
}

static int on_change(void *ctx, const char *json) {
    (void)ctx;
    if (json) printf("%s\n", json);
    fflush(stdout);
    return 0;
}

static void *watch(void *mesh) {
    struct slv_err err = {0};
    if (slv_mesh_watch(mesh, "parts", on_change, NULL, &err) != SLV_E_CANCELLED)
        fprintf(stderr, "%s\n", err.msg);
    return NULL;
}

static int count(struct slv_mesh *mesh, struct slv_err *err) {
    int rc = 0;
    while (!rc && !is_ending) {
        rc = slv_mesh_put(mesh, "parts", "line-1", "{\"value\":1}", NULL, NULL, err);
        sleep(1);
    }
    return rc;
}

int main(int argc, char **argv) {
    static const char *const space[] = {"parts:counter"};
    struct slv_err err = {0};
    struct slv_mesh *mesh = NULL;
    char key_file[4096], key[SLV_MESH_KEY_TEXT];
    pthread_t watcher;
    if (argc < 3 || argc > 4)
        return fprintf(stderr, "usage: mesh FOLDER LISTEN [KEY[@HOST:PORT]]\n"), 2;
    snprintf(key_file, sizeof key_file, "%s/device.key", argv[1]);
    const char *const listen[] = {argv[2]}, *const other[] = {argv[3]};
    struct slv_mesh_opts o = {
        .folder = argv[1], .key = key_file, .space = {space, 1}, .listen = {listen, 1}};
    if (argc > 3 && strchr(argv[3], '@')) o.peer = (struct slv_mesh_list){other, 1};
    else if (argc > 3) o.member = (struct slv_mesh_list){other, 1};
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    slv_mesh_log(on_log, NULL);
    int rc = slv_mesh_key(key_file, key, &err);
    if (!rc) printf("%s\n", key), fflush(stdout);
    if (!rc) rc = slv_mesh_open(&o, &mesh, &err);
    if (!rc && !pthread_create(&watcher, NULL, watch, mesh)) {
        rc = count(mesh, &err);
        slv_mesh_close(mesh); /* ends the watcher, too */
        pthread_join(watcher, NULL);
    }
    if (rc) fprintf(stderr, "mesh: %s\n", err.msg);
    return rc ? 1 : 0;
}
