# arm.mk: the library and the tests that arm.sh runs, as programs for 64-bit ARM.
#
#	make -f tests/arm/arm.mk BUILD=folder	from the root of the sources; Meson's build folder
#
# No library is linked but libc: utf8proc and cmocka have small stand-ins here (see each). Only what
# has changed is compiled.
OUT = $(BUILD)/tests/arm
CC = aarch64-linux-gnu-gcc
CFLAGS = -std=gnu11 -O2 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Werror -MMD -MP \
    -Iinclude -Isrc -Itests/arm -I$(BUILD) -DTEST_DATA='"$(CURDIR)/tests/data"' \
    -DMODEL_DIR='"$(BUILD)/tests/family_models"' -DHOSTILE_DIR='"$(BUILD)/tests/hostile_gguf"'

# The kernels first: they take the longest.
# What links more: of the program (jansson), or where the option is on.
NOT_LIB = src/base/json_parse.c src/engine/guide.c src/format/hf_none.c
LIB = $(patsubst %.c,$(OUT)/%.o,$(sort $(wildcard src/kernel/arm/*.c)) $(filter-out $(NOT_LIB), \
    $(sort $(wildcard src/base/*.c src/format/*.c src/kernel/*.c src/engine/*.c))) tests/arm/no_utf8proc.c)
TESTS = kernel/check golden/check_families golden/one_result unit/test_base unit/test_engine \
    unit/test_fmath unit/test_layout unit/test_quant
PROGRAMS = $(TESTS:%=$(OUT)/%)

all: $(PROGRAMS)

$(OUT)/libselvage.a: $(LIB)
	@rm -f $@
	@aarch64-linux-gnu-ar rcs $@ $^

$(OUT)/kernel/check: $(OUT)/tests/kernel/levels.o
$(PROGRAMS): $(OUT)/%: $(OUT)/tests/%.o $(OUT)/libselvage.a
	@mkdir -p $(@D)
	@$(CC) -static $^ -lm -o $@

$(OUT)/%dotprod.o: CFLAGS += -march=armv8.2-a+dotprod
$(OUT)/%i8mm.o: CFLAGS += -march=armv8.2-a+dotprod+i8mm
$(OUT)/%.o: %.c tests/arm/arm.mk
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c $< -o $@

-include $(LIB:.o=.d) $(TESTS:%=$(OUT)/tests/%.d) $(OUT)/tests/kernel/levels.d

.PHONY: all
.SECONDARY:
