# One non-recursive Makefile. Rooms are folders of src/; a module is picked up by its name:
#   src/ROOM/foo.c        part of the room's library
#   src/ROOM/foo_test.c   unit tests            -> build/VARIANT/test-ROOM
#   src/ROOM/foo_fuzz.c   a fuzz target         -> build/VARIANT/fuzz-ROOM-foo
#   src/cli/main.c, src/oci/shim_main.c, src/cli/job_main.c   the three programs
#
# make            the programs, for development   (build/debug)
# make release    the programs, optimised         (build/release)
# make test       unit tests under ASan and UBSan (build/asan); ROOM=store for one room, ARGS="-v word"
# make checkers   layers, headers, banned calls, generated files, form, names, licences; prints long functions and files
# make fuzz-replay  every fuzz target over its corpus, under ASan and UBSan
# make fuzz       clang's libFuzzer over every target (build/fuzz; package clang), two at a time; TARGET=wire-http1 for one,
#                 TIME=600 seconds each; what it finds, and the grown corpora, stay in build/fuzz
# make check      checkers, unit tests, fuzz-replay, start time and memory; ./check does all that and the rest
# make e2e        end-to-end tests against the release build; TEST=helm for one
# make newer      what a newer build would be, for tests that replace one (build/V/newer)
# make storm      the long forms of the end-to-end tests, an hour; TEST=rough for one
# make vm         a Debian 12 with systemd in qemu, to try `wherry install` in (as root)
# make bench-NAME   bench/NAME_bench.c, optimised (build/release/bench-NAME)
# make bench-custom   what definitions, applies, webhooks and HTTP/2 cost (as root, some minutes); ARGS="writes"
# make bench-edge   what the front door costs (as root, some minutes); ARGS="rate apply probe hosts"
# make bench-figures   what figures of 100 pods cost (as root, two minutes)
# make bench-jobs   what Jobs, CronJobs, sets and claims cost (as root, some minutes); ARGS="jobs cron"
# make bench-cluster   what a whole cluster costs, beside its peers (as root, some minutes); ARGS="up idle"
# make format     clang-format over what was changed since the last commit; over all where nothing was
V ?= debug
CC ?= gcc
ifeq ($(V),fuzz)
CC := clang$(if $(shell command -v clang),,-14)
endif
B := build/$(V)
ROOMS := base sys wire api cel store server client control oci net edge node cli

PKGS := libuv openssl libnghttp2 sqlite3 yaml-0.1 libmnl zlib libzstd libseccomp
PKGS_JOB := libcurl libarchive
# cached in the build folder: pkg-config costs more than a no-op build
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(PKGS_JOB) 2>/dev/null)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lwslay -lpthread -lm
LIBS_JOB := $(shell pkg-config --libs $(PKGS_JOB) openssl libzstd zlib 2>/dev/null) -lpthread

WARN := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wimplicit-fallthrough \
	-Wswitch-enum -Wwrite-strings -Wpointer-arith -Wundef -Wformat=2
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
CFLAGS_ALL := -std=gnu17 -g -D_GNU_SOURCE -iquote src $(WARN) $(PKG_CFLAGS)
CFLAGS_debug := -Og
CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DWHERRY_SANITIZED
CFLAGS_fuzz := -O1 -Wno-missing-field-initializers -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	-DWHERRY_SANITIZED
CFLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread -DWHERRY_SANITIZED
CFLAGS_release := -O2 -DWHERRY_RELEASE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE -ffunction-sections -fdata-sections
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_fuzz := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_release := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections
LDFLAGS_ALL := -Wl,--as-needed

MAINS := src/cli/main.c src/cli/job_main.c src/base/test_main.c
ALL := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
TESTS := $(filter %_test.c,$(ALL))
FUZZ := $(filter %_fuzz.c,$(ALL))
# what only the helper program links: *_job.c (libcurl, libarchive)
JOBS := $(filter %_job.c,$(ALL))
# the whole of wherry-shim, which nothing else links
SHIM := $(filter-out $(TESTS) $(FUZZ),$(wildcard src/oci/shim_*.c))
LIB := $(filter-out $(TESTS) $(FUZZ) $(MAINS) $(SHIM) $(JOBS),$(ALL))
obj = $(patsubst src/%.c,$(B)/%.o,$(1))

LIB_A := $(B)/libwherry.a
JOB_A := $(B)/libjob.a
PROGRAMS := $(if $(wildcard src/cli/main.c),$(B)/wherry) $(if $(SHIM),$(B)/wherry-shim) \
	$(if $(wildcard src/cli/job_main.c),$(B)/wherry-job)
TEST_ROOMS := $(if $(ROOM),$(ROOM),$(foreach r,$(ROOMS),$(if $(filter src/$(r)/%_test.c,$(TESTS)),$(r))))
FUZZERS := $(foreach f,$(FUZZ),$(B)/fuzz-$(subst /,-,$(patsubst src/%_fuzz.c,%,$(f))))

.PHONY: all release asan test check checkers format clean fuzz-replay programs
all: programs
programs: $(PROGRAMS)
release:
	@$(MAKE) --no-print-directory V=release programs
asan:
	@$(MAKE) --no-print-directory V=asan programs

$(B)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(V)) $(CFLAGS_FILE) -MMD -MP -c $< -o $@
$(B)/base/version.o: CFLAGS_FILE = -DWHERRY_BUILD='"$(VERSION)"'

$(LIB_A): $(call obj,$(LIB))
	@rm -f $@ && ar rcsD $@ $^
$(JOB_A): $(call obj,$(JOBS))
	@rm -f $@ && ar rcsD $@ $^

$(B)/wherry: $(B)/cli/main.o $(LIB_A)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $@ $^ $(LIBS)
$(B)/wherry-job: $(B)/cli/job_main.o $(JOB_A) $(LIB_A)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $@ $^ $(LIBS_JOB) $(LIBS)
# libc alone and static: one runs per pod (see src/oci/shim_main.c)
$(B)/wherry-shim: $(SHIM) $(wildcard src/oci/shim_*.h)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) -Os -static -ffunction-sections -fdata-sections -Wl,--gc-sections -o $@ $(SHIM)

define test_room
$(B)/test-$(1): $(call obj,$(filter src/$(1)/%,$(TESTS))) $(B)/base/test_main.o $(JOB_A) $(LIB_A)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $$@ $$^ $(LIBS_JOB) $(LIBS)
endef
$(foreach r,$(ROOMS),$(eval $(call test_room,$(r))))
# its tests run them
$(B)/test-oci: | $(filter %/wherry-shim %/wherry-job,$(PROGRAMS))

# The same as a newer build would be, to replace one with: another version, another protocol of the shim.
NEWER := base/version oci/sandbox
.PHONY: newer
newer: $(B)/newer/wherry $(B)/newer/wherry-shim $(B)/newer/wherry-job
$(B)/newer/%.o: src/%.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(V)) -DWHERRY_BUILD='"newer"' -DSHIM_VERSION=9 -MMD -MP -c $< -o $@
$(B)/newer/wherry: $(B)/cli/main.o $(NEWER:%=$(B)/newer/%.o) $(LIB_A)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $@ $^ $(LIBS)
$(B)/newer/wherry-shim: $(SHIM) $(wildcard src/oci/shim_*.h)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) -Os -static -DSHIM_VERSION=9 -ffunction-sections -fdata-sections -Wl,--gc-sections -o $@ $(SHIM)
$(B)/newer/wherry-job: $(B)/wherry-job
	@cp $< $@

test:
	@$(MAKE) --no-print-directory V=asan run-tests
.PHONY: run-tests
run-tests: $(foreach r,$(TEST_ROOMS),$(B)/test-$(r))
	@tools/run-tests $(B) "$(TEST_ROOMS)" $(ARGS)

# end-to-end tests, each by itself: make e2e TEST=cluster for one
.PHONY: e2e load
load: ; @$(MAKE) --no-print-directory V=release build/release/load
$(B)/load: bench/load.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(V)) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $@ $<
# the one that boots a machine only where it is named
e2e: release load
	@failed=; for t in $(filter-out $(if $(TEST),,%/vm_test.py),$(wildcard tests/e2e/*$(TEST)*_test.py)); do echo "== $$t"; python3 $$t $(ARGS) || failed=1; done; [ -z "$$failed" ]
.PHONY: storm
storm: ; @TEST=$(TEST) ./check --storm
.PHONY: vm
vm: release
	@tools/install vm && tests/e2e/vm.py

# bench/foo_bench.c -> build/release/bench-foo
bench-%: ; @$(MAKE) --no-print-directory V=release build/release/bench-$*
$(B)/bench-%: bench/%_bench.c $(LIB_A)
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(V)) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $@ $< $(LIB_A) $(LIBS)

bench-custom: release
	@python3 bench/custom_bench.py $(ARGS)

bench-edge: release
	@python3 bench/edge_bench.py $(ARGS)

bench-jobs: release
	@$(CC) -O2 -Wall -Wextra -o build/release/cluster-probe bench/cluster_probe.c
	@python3 bench/jobs_bench.py $(ARGS)

bench-figures: release
	@$(CC) -O2 -Wall -Wextra -o build/release/figures-floor bench/figures_floor.c
	@python3 bench/figures_bench.py $(ARGS)

bench-cluster: release bench-rollout
	@$(CC) -O2 -Wall -Wextra -o build/release/cluster-probe bench/cluster_probe.c
	@python3 bench/cluster_bench.py $(ARGS)

# clang's libFuzzer where a person fuzzes; everywhere else a small main that replays a corpus
FUZZ_MAIN := $(if $(filter fuzz,$(V)),-fsanitize=fuzzer,tools/fuzz_main.c)
define fuzz_target
$(B)/fuzz-$(subst /,-,$(patsubst src/%_fuzz.c,%,$(1))): $(call obj,$(1)) $(LIB_A) $(JOB_A) tools/fuzz_main.c
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(V)) $(LDFLAGS_ALL) $(LDFLAGS_$(V)) -o $$@ $(call obj,$(1)) $(FUZZ_MAIN) $(JOB_A) $(LIB_A) $(LIBS_JOB) $(LIBS)
endef
$(foreach f,$(FUZZ),$(eval $(call fuzz_target,$(f))))
fuzz-replay:
	@$(MAKE) --no-print-directory V=asan run-fuzz-replay
.PHONY: run-fuzz-replay
run-fuzz-replay: $(FUZZERS)
	@tools/fuzz-replay $(B) $(notdir $(FUZZERS))

.PHONY: fuzz run-fuzz
TIME ?= 600
fuzz:
	@$(MAKE) --no-print-directory V=fuzz run-fuzz
run-fuzz: $(filter $(B)/fuzz-$(or $(TARGET),%),$(FUZZERS))
	@tools/fuzz $(B) $(TIME) $(notdir $^)

checkers:
	@tools/check-layers
	@tools/check-headers
	@tools/check-banned
	@tools/check-generated
	@tools/check-fields
	@tools/check-format
	@tools/check-names
	@tools/check-shape
	@tools/check-licences
check: checkers test fuzz-replay release
	@tools/check-size build/release
format:
	@changed=$$(git ls-files -mo --exclude-standard 'src/*.c' 'src/*.h'); all=$$(git ls-files 'src/*.c' 'src/*.h'); \
	clang-format -i $$(ls $${changed:-$$all} 2>/dev/null | grep -v -E '_gen\.[ch]$$')
clean:
	@rm -rf build

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
