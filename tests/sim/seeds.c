/* seeds.c: runs the mesh's simulator with one seed after the other until one does not hold.
 *
 * usage: seeds NODES FAULTS FIRST COUNT [exact]
 *
 * prints "seed N: WHY" and ends with 1, or "held" */
#include "mesh/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6) return 2;
    struct slv_sim_conf c = {.nodes = (unsigned)strtoul(argv[1], NULL, 0),
                             .faults = (unsigned)strtoul(argv[2], NULL, 0),
                             .exact = argc == 6,
                             .seed = strtoull(argv[3], NULL, 0)};
    for (uint64_t k = strtoull(argv[4], NULL, 0); k > 0; k--, c.seed++) {
        struct slv_sim_result r;
        if (slv_sim_run(&c, &r)) return 2;
        if (r.held) continue;
        printf("seed %" PRIu64 ": %s\n", c.seed, r.why);
        return 1;
    }
    puts("held");
    return 0;
}
