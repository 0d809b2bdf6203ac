/* energy.c: see energy.h. */
#include "base/energy.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "intel-rapl:" /* intel-rapl-mmio: shows the same packages once more */

/* The one line of a small file; false if there is none. */
static bool read_line(const char *path, char *out, int size) {
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, size, f);
    if (f) fclose(f);
    if (ok) out[strcspn(out, "\n")] = '\0';
    return ok;
}

static bool read_number(const char *path, uint64_t *ret) {
    char text[40], *end;
    if (!read_line(path, text, sizeof text) || text[0] < '0' || text[0] > '9') return false;
    *ret = strtoull(text, &end, 10);
    return !*end;
}

/* Whether what the zone counts is in no other one. */
static bool counts(const char *folder, const char *zone) {
    char path[SLV_ENERGY_PATH_MAX + 300], name[64];
    snprintf(path, sizeof path, "%s/%s/name", folder, zone);
    return read_line(path, name, sizeof name) &&
           (!strncmp(name, "package-", 8) || !strcmp(name, "dram"));
}

static void add_zone(struct slv_energy *e, const char *folder, const char *name) {
    char range[SLV_ENERGY_PATH_MAX + 300];
    struct slv_energy_zone *z = &e->zone[e->n];
    int n = snprintf(z->path, sizeof z->path, "%s/%s/energy_uj", folder, name);
    snprintf(range, sizeof range, "%s/%s/max_energy_range_uj", folder, name);
    bool ok = n > 0 && (size_t)n < sizeof z->path && read_number(z->path, &z->last) &&
              read_number(range, &z->range) && z->last <= z->range;
    if (ok) e->n++;
}

int slv_energy_begin(struct slv_energy *ret, const char *folder) {
    struct slv_energy e = {0};
    struct dirent *d;
    DIR *dir = strlen(folder) < SLV_ENERGY_PATH_MAX ? opendir(folder) : NULL;
    if (!dir) return SLV_E_NOENT;
    while ((d = readdir(dir)) && e.n < SLV_ENERGY_ZONES_MAX)
        if (!strncmp(d->d_name, PREFIX, sizeof PREFIX - 1) && counts(folder, d->d_name))
            add_zone(&e, folder, d->d_name);
    closedir(dir);
    if (!e.n) return SLV_E_NOENT;
    *ret = e;
    return 0;
}

int slv_energy_read(struct slv_energy *e, uint64_t *ret_uj) {
    uint64_t at[SLV_ENERGY_ZONES_MAX];
    for (size_t i = 0; i < e->n; i++)
        if (!read_number(e->zone[i].path, &at[i]) || at[i] > e->zone[i].range) return SLV_E_IO;
    for (size_t i = 0; i < e->n; i++) {
        struct slv_energy_zone *z = &e->zone[i];
        e->used += at[i] >= z->last ? at[i] - z->last : z->range - z->last + 1 + at[i];
        z->last = at[i];
    }
    *ret_uj = e->used;
    return 0;
}
