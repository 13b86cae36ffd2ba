# cudeno's native libraries, data and tests. `make help` lists what can be made; V=1 shows the
# commands.

DENO_VERSION         := 2.9.6
# Another version of clang-format lays some lines out in another way.
CLANG_FORMAT_VERSION := 23

BUILD    := cuda/build
OBJ      := $(BUILD)/obj
CPU_OUT  := $(BUILD)/libcudeno_cpu
CUDA_OUT := $(BUILD)/libcudeno_cuda

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all cpu cuda mnist data test quick lint bench asan tsan vendor deno clean distclean help
.PHONY: FORCE
all:

# As many jobs as cores, unless the user said how many.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
  MAKEFLAGS += -j$(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
endif
Q   := $(if $(V),,@)
say  = @printf '  %-5s %s\n' $1 $2

# ---- Deno: from the PATH when it is new enough, else from npm into .tools/ -----------------------

ifndef DENO
  DENO := $(shell d=$$(command -v deno) && \
    v=$$("$$d" --version | sed -nE '1s/^deno ([0-9.]+).*/\1/p') && \
    printf '%s\n' $(DENO_VERSION) "$$v" | sort -C -V && echo "$$d")
endif
ifeq ($(DENO),)
  DENO     := .tools/bin/deno
  DENO_DEP := .tools/deno-$(DENO_VERSION)
endif

# The npm package holds the program for each system as an optional dependency; its install scripts
# are not needed.
.tools/deno-$(DENO_VERSION):
	$(call say,NPM,"deno@$(DENO_VERSION) into .tools/ (no Deno >= $(DENO_VERSION) on the PATH)")
	@command -v npm >/dev/null || { echo "Deno >= $(DENO_VERSION) was not found on the PATH, nor" \
	  "npm, which would fetch it. Install Deno (https://deno.com) or Node.js with npm."; exit 1; } >&2
	@mkdir -p .tools/bin
	$(Q)npm install --prefix .tools --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
	  --loglevel=error deno@$(DENO_VERSION) >/dev/null
	@program=$$(ls .tools/node_modules/@deno/*/deno 2>/dev/null | head -n 1); \
	  [ -n "$$program" ] || { echo "npm's deno@$(DENO_VERSION) has no program for $$(uname -sm), or" \
	  "npm leaves out optional packages. Install Deno from https://deno.com."; exit 1; } >&2; \
	  chmod +x "$$program" && ln -sf "../../$$program" .tools/bin/deno && \
	  .tools/bin/deno --version >/dev/null
	@touch $@

deno: $(DENO_DEP) ## find or install Deno; prints where it is
	@echo "$(DENO)"

# The @std packages that deno.json names, so that nothing needs the network later.
vendor: vendor/.filled ## fill vendor/ with the @std packages (from JSR, or else from npm)
vendor/.filled: .ci/vendor.ts deno.json | $(DENO_DEP)
	$(Q)"$(DENO)" run -A .ci/vendor.ts
	@mkdir -p vendor && touch $@

# ---- C++ compiler and flags for the CPU library --------------------------------------------------

ifeq ($(origin CXX),default)
  CXX := $(firstword $(foreach c,g++ clang++ c++,$(if $(shell command -v $c 2>/dev/null),$c)) g++)
endif
TRIPLE := $(shell $(CXX) -dumpmachine 2>/dev/null)
X86    := $(filter x86_64%,$(TRIPLE))
MACOS  := $(findstring darwin,$(TRIPLE))
CLANG  := $(findstring clang,$(shell $(CXX) --version 2>/dev/null))
# glibc's vector math: GCC calls it by itself, clang when it is named.
LIBMVEC := $(and $(X86),$(findstring /,$(shell $(CXX) -print-file-name=libmvec.so 2>/dev/null)))

ifneq ($(X86),)
  CPU_ARCH ?= x86-64-v3
  ISAS     := base avx2 avx512
else
  ISAS     := base
endif
CPU_ARCH_FLAGS := $(if $(CPU_ARCH),-march=$(CPU_ARCH))
# The products' kernel is compiled once for each instruction set, and chosen at run time.
ISA_FLAGS_base   := $(CPU_ARCH_FLAGS)
ISA_FLAGS_avx2   := -march=x86-64-v3
ISA_FLAGS_avx512 := -march=x86-64-v4 -mprefer-vector-width=512

# Never -ffast-math: it breaks NaN and infinity.
CXX_FLAGS := -std=c++20 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -Wall -Wextra \
  -fno-math-errno -fno-trapping-math -pthread \
  $(if $(CLANG),-Wno-pass-failed $(if $(LIBMVEC),-fveclib=libmvec))
HARDEN     := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
FLAGS_cpu  := $(CXX_FLAGS) -O3 $(HARDEN) $(CXXFLAGS)
FLAGS_asan := $(CXX_FLAGS) -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=all $(CXXFLAGS)
FLAGS_tsan := $(CXX_FLAGS) -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread $(CXXFLAGS)
LIBS := $(if $(LIBMVEC),-lmvec) -lm -ldl -pthread

EXPORTS := cuda/exports.map
ifneq ($(MACOS),)
  SO       := dylib
  EXPORTED := $(OBJ)/exports.txt
  LINK_cpu := -dynamiclib -Wl,-exported_symbols_list,$(EXPORTED)
else
  SO       := so
  EXPORTED := $(EXPORTS)
  # nodelete: when an isolate ends Deno closes the library, but a thread may still be inside it.
  LINK_cpu := -shared -Wl,--version-script=$(EXPORTED) \
    -Wl,--no-undefined,-z,nodelete,-z,relro,-z,now -static-libstdc++ -static-libgcc
endif
CPU_LIB  := $(CPU_OUT).$(SO)
CUDA_LIB := $(CUDA_OUT).$(SO)
FUZZ     := $(BUILD)/asan/fuzz
TSAN     := $(BUILD)/tsan/fuzz

# ---- nvcc, the GPU at hand, and flags for the CUDA library ---------------------------------------

ifndef NVCC
  NVCC := $(firstword $(shell command -v nvcc; ls /usr/local/cuda/bin/nvcc 2>/dev/null))
endif

# A plain make builds CUDA only for a GPU that is here; only goals that include `all` look for one.
ifneq ($(filter all test quick mnist bench,$(or $(MAKECMDGOALS),all)),)
  GPUS := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | \
    sed -nE 's/^([0-9]+)\.([0-9])$$/\1\2/p' | sort -nu)
  ifeq ($(GPUS),)
    CUDA_SKIP := no NVIDIA GPU is visible (make cuda builds it all the same)
  else ifeq ($(NVCC),)
    CUDA_SKIP := nvcc is neither on the PATH nor in /usr/local/cuda/bin: install the CUDA toolkit, \
      or set NVCC
  else ifneq ($(filter-out $(patsubst sm_%,%,$(shell $(NVCC) --list-gpu-code)),$(GPUS)),)
    CUDA_SKIP := the GPU is of architecture $(GPUS), which $(NVCC) does not know: set \
      CUDA_ARCHS or take another CUDA
  endif
endif

# What to compile for: `90a` is machine code, `ptx80` is PTX, which later GPUs compile when they
# load it. A library for several architectures gets PTX of the lowest; one for a single
# architecture, or with PTX of its own, is as asked for.
ifneq ($(or $(CUDA_ARCHS),$(filter cuda,$(MAKECMDGOALS))),)
  CUDA_ARCHS   ?= 80 90a
  CUDA_LOWEST  = $(addprefix ptx,$(shell printf '%d\n' $(CUDA_ARCHS:a=) | sort -n | head -n 1))
  CUDA_SEVERAL := $(and $(word 2,$(CUDA_ARCHS)),$(if $(filter ptx%,$(CUDA_ARCHS)),,several))
  CUDA_TARGETS := $(CUDA_ARCHS) $(if $(CUDA_SEVERAL),$(CUDA_LOWEST))
else
  # From 9.0 on, the letter a unlocks what only that architecture has.
  CUDA_TARGETS := $(foreach a,$(GPUS),$(if $(filter 90 1%,$a),$aa,$a))
  CUDA_BUILT   := $(shell cat $(OBJ)/cuda/targets 2>/dev/null)
  # `make cuda` built for this GPU and others: keep that.
  ifeq ($(filter-out $(CUDA_BUILT),$(CUDA_TARGETS)),)
    CUDA_TARGETS := $(CUDA_BUILT)
  endif
endif
GENCODE := $(foreach t,$(CUDA_TARGETS),-gencode \
  arch=compute_$(t:ptx%=%),code=$(if $(filter ptx%,$t),compute,sm)_$(t:ptx%=%))
# Say CCBIN=g++-12 where nvcc does not support the default g++.
HOST_COMPILER := $(if $(CCBIN),-ccbin $(CCBIN))
# Compressed machine code makes the library four times smaller.
COMPRESS := $(and $(NVCC),$(findstring --compress-mode,$(shell "$(NVCC)" --help 2>/dev/null)))
COMPRESS := $(if $(COMPRESS),--compress-mode=size)
# -O is the host code's, which only checks and launches; device code is always optimized in full.
# For a profiler that is to show source lines: make cuda NVCCFLAGS=-lineinfo.
FLAGS_cuda := -std=c++20 -O1 --cudart static --expt-relaxed-constexpr --threads 4 $(GENCODE) \
  $(HOST_COMPILER) $(COMPRESS) \
  -Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-Wall,-fstack-protector-strong \
  -Xcompiler=-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=2 '-DCDN_ARCHS="$(strip $(CUDA_TARGETS))"' \
  $(NVCCFLAGS)
LINK_cuda := -shared --cudart static $(HOST_COMPILER) -Xcompiler=-static-libstdc++,-static-libgcc \
  -Xlinker=--no-undefined,--version-script=$(EXPORTS),-z,nodelete,-z,relro,-z,now
# Decoding images is work of the host's.
$(OBJ)/cuda/image/%.o: private FLAGS_cuda := $(FLAGS_cuda:-O1=-O3) $(CPU_ARCH_FLAGS:%=-Xcompiler=%)

# ---- Compiling and linking -----------------------------------------------------------------------

# cuda/gpu/ is compiled by nvcc only, cuda/cpu/ by the C++ compiler only, all else by both.
FILES    := $(shell find cuda -path $(BUILD) -prune -o \( -name '*.cu' -o -name '*.cpp' \) -print \
  | LC_ALL=C sort)
GPU_SRC  := $(filter cuda/gpu/%,$(FILES))
SHARED   := $(filter-out cuda/gpu/% cuda/cpu/%,$(FILES))
KERNEL   := cpu/gemm/kernel.cpp
CPU_SRC  := $(filter-out cuda/$(KERNEL),$(SHARED) $(filter cuda/cpu/%,$(FILES)))
CPU_O    := $(CPU_SRC:cuda/%=%.o) $(ISAS:%=$(KERNEL).%.o)
CPU_OBJ  := $(CPU_O:%=$(OBJ)/cpu/%)
ASAN_OBJ := $(CPU_O:%=$(OBJ)/asan/%)
TSAN_OBJ := $(CPU_O:%=$(OBJ)/tsan/%)
# Products take longest to compile: first, so that no processor waits for them at the end.
PRODUCTS := $(filter cuda/gpu/gemm/%,$(GPU_SRC))
CUDA_SRC := $(PRODUCTS) $(SHARED) $(filter-out $(PRODUCTS),$(GPU_SRC))
CUDA_OBJ := $(CUDA_SRC:cuda/%=$(OBJ)/cuda/%.o)

VARIANT = $(word 4,$(subst /, ,$@))# cuda/build/obj/VARIANT/…
ISA     = $(or $(filter avx2 avx512,$(subst ., ,$(@F))),base)

define compile
@mkdir -p $(@D)
$(call say,CXX,$@)
$(Q)$(CXX) $(FLAGS_$(VARIANT)) $(ISA_FLAGS_$(ISA)) \
  $(if $(findstring $(KERNEL),$@),-DCDN_ISA=$(ISA)) -Icuda \
  -MMD -MP -MF $(@:.o=.d) -x c++ -c $< -o $@
endef

# Links to another name and renames: a library that some program has loaded must never be written
# over.
define link
@mkdir -p $(@D)
$(call say,LINK,$@)
$(Q)$(1) -o $@.tmp
$(Q)mv -f $@.tmp $@
endef

$(OBJ)/cpu/%.o: cuda/% $(OBJ)/cpu/flags
	$(compile)
$(OBJ)/asan/%.o: cuda/% $(OBJ)/asan/flags
	$(compile)
$(OBJ)/tsan/%.o: cuda/% $(OBJ)/tsan/flags
	$(compile)
$(foreach v,cpu asan tsan,$(foreach i,$(ISAS),$(eval \
  $(OBJ)/$v/$(KERNEL).$i.o: cuda/$(KERNEL) $(OBJ)/$v/flags ; $$(compile))))
$(OBJ)/cuda/%.o: cuda/% $(OBJ)/cuda/flags $(OBJ)/cuda/host
	@mkdir -p $(@D)
	$(call say,NVCC,"$@ ($(strip $(CUDA_TARGETS)))")
	$(Q)$(NVCC) $(FLAGS_cuda) -Icuda -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(CPU_LIB): $(CPU_OBJ) $(EXPORTED)
	$(call link,$(CXX) $(LINK_cpu) $(CPU_OBJ) $(LIBS))
$(CUDA_LIB): $(CUDA_OBJ) $(EXPORTS)
	$(call link,$(NVCC) $(LINK_cuda) $(CUDA_OBJ) -ldl)
	@echo $(CUDA_TARGETS) > $(OBJ)/cuda/targets
FUZZ_SRC := tests/native/fuzz.cpp $(wildcard tests/native/*.h) cuda/cudeno.h
$(FUZZ): $(FUZZ_SRC) $(ASAN_OBJ)
	$(call link,$(CXX) $(FLAGS_asan) -Icuda $< $(ASAN_OBJ) $(LIBS))
$(TSAN): $(FUZZ_SRC) $(TSAN_OBJ)
	$(call link,$(CXX) $(FLAGS_tsan) -Icuda $< $(TSAN_OBJ) $(LIBS))

# Files that change only when the compiler or its flags do, so that all is rebuilt then.
stamp = @mkdir -p $(@D); new='$(subst ','\'',$1)'; \
  [ "$$new" = "$$(cat $@ 2>/dev/null)" ] || printf '%s\n' "$$new" > $@
VERSION = $(shell $1 --version 2>/dev/null | sed -nE '1s/.* ([0-9][0-9.]*).*/\1/p')

$(OBJ)/cpu/flags $(OBJ)/asan/flags $(OBJ)/tsan/flags: FORCE
	@command -v $(firstword $(CXX)) >/dev/null || { echo "No C++ compiler: $(CXX) was not found." \
	  "Install g++ (11 or later) or clang++ (12 or later), or set CXX."; exit 1; } >&2
	$(call stamp,$(CXX) $(call VERSION,$(CXX)) $(FLAGS_$(VARIANT)) $(CPU_ARCH_FLAGS) \
	  $(LINK_$(VARIANT)))
$(OBJ)/cuda/flags: FORCE
	@[ -n "$(NVCC)" ] || { echo "nvcc is neither on the PATH nor in /usr/local/cuda/bin: install the" \
	  "CUDA toolkit (12.8 or later), or set NVCC=/path/to/nvcc."; exit 1; } >&2
	$(call stamp,$(NVCC) $(if $(NVCC),$(shell $(NVCC) --version | sed -n 's/.*release //p')) \
	  $(FLAGS_cuda) $(LINK_cuda))

# nvcc refuses host compilers newer than it knows: find one that it takes, and say how to name it.
$(OBJ)/cuda/host: $(OBJ)/cuda/flags
	@: > $@.cu; try() { $(NVCC) "$$@" -E $@.cu -o /dev/null > $@.log 2>&1; }; \
	if ! try $(HOST_COMPILER); then cat $@.log >&2; \
	  for c in g++-15 g++-14 g++-13 g++-12 g++-11 clang++; do \
	  if command -v $$c >/dev/null && try -ccbin $$c; then \
	    echo "nvcc does not work with $(or $(CCBIN),the default g++), but with $$c:" \
	      "say CCBIN=$$c" >&2; \
	    exit 1; \
	  fi; done; \
	  echo "nvcc works with none of the C++ compilers found here: install one that it supports, and" \
	    "say CCBIN=<its name>" >&2; exit 1; fi
	@touch $@

$(OBJ)/exports.txt:
	@mkdir -p $(@D); echo '_cdn_*' > $@

FORCE:
-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

# ---- What people ask for -------------------------------------------------------------------------

all: vendor/.filled $(CPU_LIB) $(if $(CUDA_SKIP),,$(CUDA_LIB)) ## all of use here (the default)
	@echo "Built $(CPU_LIB) ($(CXX) $(call VERSION,$(CXX)), $(or $(CPU_ARCH),$(TRIPLE)))"
	@echo "$(if $(CUDA_SKIP),CUDA skipped: $(CUDA_SKIP),Built $(CUDA_LIB) ($(strip $(CUDA_TARGETS))))"
	@echo "Deno is $(DENO)"

cpu: $(CPU_LIB) ## the library for the CPU
cuda: $(CUDA_LIB) ## the library for GPUs, for CUDA_ARCHS (default: 80 90a, and PTX of the lowest)
asan: $(FUZZ) ## bad calls at the C ABI under AddressSanitizer and UBSan; ARGS="--seed 2"
	$(Q)$(FUZZ) $(ARGS)
tsan: $(TSAN) ## the same from several threads under ThreadSanitizer
	$(Q)$(TSAN) $(or $(ARGS),--calls 20000)

DATA ?= mnist
# One of CIFAR-10's sources has its images in PNG files, which the library decodes.
data: $(if $(findstring cifar,$(DATA)),$(CPU_LIB))
data: $(DENO_DEP) ## download MNIST to data/mnist/, verified; DATA="fashion_mnist cifar10 cars"
	$(Q)for set in $(DATA); do "$(DENO)" run --allow-net --allow-read --allow-write --allow-env \
	  --allow-ffi --allow-run=npm,tar,apt-get,dpkg-deb "examples/data/get_$$set.ts" || exit 1; done

mnist: all data ## train on MNIST; ARGS="--epochs 3 --device cpu" passes options
	$(Q)"$(DENO)" run --allow-ffi \
	  $(if $(MNIST_DIR),--allow-env=MNIST_DIR --allow-read="$(MNIST_DIR)") examples/mnist.ts $(ARGS)

test: all $(FUZZ) $(TSAN) ## every check and every test
	$(Q)"$(DENO)" run -A .ci/checks.ts $(FUZZ) $(TSAN)

quick: all ## format, lint, types, and the tests of what changed since the last commit
	$(Q)"$(DENO)" run -A .ci/quick.ts $(ARGS)

lint: $(DENO_DEP) ## format and lint, of native code too where clang-format is found
	$(Q)"$(DENO)" fmt --check
	$(Q)"$(DENO)" lint
	$(Q)"$(DENO)" run --allow-read .ci/columns.ts
	$(Q)if clang-format --version 2>/dev/null | grep -q 'version $(CLANG_FORMAT_VERSION)\.'; then \
	  find cuda tests/native -path $(BUILD) -prune -o -name '*.cu' -print -o -name '*.h' -print \
	    -o -name '*.cpp' -print | xargs clang-format --dry-run -Werror; \
	else echo "no clang-format $(CLANG_FORMAT_VERSION): the format of native code was not checked"; fi

bench: all ## the benchmarks
	$(Q)"$(DENO)" bench --allow-ffi

clean: ## remove what was built
	rm -rf $(BUILD)
distclean: clean ## remove what was built or downloaded
	rm -rf .tools vendor data

help:
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
