/* run_corpus.c: runs a fuzz target over files, without a fuzzing engine: usage: TARGET PATH...
 * A folder stands for the files in it. Each file is given at the end of a heap block of its size,
 * so that the address sanitizer sees the first byte read past it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t files;

static int run_file(const char *path, size_t size) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    int ok = f && data && fread(data, 1, size, f) == size;
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
        files++;
    } else {
        perror(path);
    }
    if (f) fclose(f);
    free(data);
    return ok ? 0 : 1;
}

static int run(const char *path) {
    struct stat st;
    if (stat(path, &st)) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) return run_file(path, (size_t)st.st_size);
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return 1;
    }
    int bad = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char inner[4096];
        if (e->d_name[0] == '.') continue;
        int n = snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        bad |= n < 0 || (size_t)n >= sizeof inner || run(inner);
    }
    closedir(dir);
    return bad;
}

int main(int argc, char **argv) {
    int bad = 0;
    for (int i = 1; i < argc; i++)
        bad |= run(argv[i]);
    printf("%zu files\n", files);
    return bad || !files;
}
