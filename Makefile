# The two commands of the README are `make demo` and `make test`; the rest is listed by `make help`.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
INSTALL ?= install

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN        := $(TARGET_DIR)/release/upscaled

# Where the binary looks for ONNX Runtime on an installed system, whatever PREFIX is (CONTRACT: `library = "auto"`).
LIB_DIR := /usr/lib/upscaled
ETC_DIR := /etc/upscaled
# systemd reads units of the administrator's own software from below /usr/local too.
UNIT_DIR := $(PREFIX)/lib/systemd/system

.DEFAULT_GOAL := help
.PHONY: help runtime link-runtime build demo test bench models test-photos test-providers test-gpu fmt check-unit staged deb install uninstall clean

help: ## this list
	@echo 'upscaled: drop a picture into a folder, find it larger in another one'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target does; do printf '  make %-10s %s\n' "$$target" "$$does"; done
	@echo
	@echo 'PREFIX (/usr/local), DESTDIR, CARGO and CARGO_TARGET_DIR are heeded.'

runtime: ## fetch ONNX Runtime into runtime/ (what is there stays: scripts/fetch-runtime --help for GPUs)
	@scripts/fetch-runtime

# A binary finds ONNX Runtime in `runtime/` beside itself; this puts it beside the ones that cargo builds.
link-runtime: runtime
	@for profile in debug release; do \
		mkdir -p $(TARGET_DIR)/$$profile && ln -sfn "$(CURDIR)/runtime" $(TARGET_DIR)/$$profile/runtime || exit 1; \
	done

build: link-runtime ## build the release binary, target/release/upscaled
	$(CARGO) build --release --locked

demo: link-runtime ## upscale the sample photo through the watched folders of demo/
	@# One call for both: the example pulls in the features of the tests' dependencies, and two calls would
	@# build tokio, sqlx and the crate itself once with and once without them.
	$(CARGO) build --release --locked --bin upscaled --example before_after
	@scripts/demo $(TARGET_DIR)/release

test: link-runtime ## formatting, clippy with warnings as errors, all tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) test --locked

models: build ## fetch Real-ESRGAN's models (43 MB, BSD-3-Clause) and import them
	@scripts/fetch-models $(BIN)

# Each prints its figures as they come, and again at its end with what was wanted; one that misses does not stop the
# rest. QUICK=1 leaves out what takes minutes.
bench: link-runtime ## all figures: speed, tiles, memory, ledger, intake (QUICK=1, MODELS="a.onnx" for more models)
	$(CARGO) bench --locked --bench overhead -- $(if $(QUICK),quick)
	$(CARGO) bench --locked --bench providers -- $(if $(QUICK),quick) $(MODELS)
	$(CARGO) bench --locked --bench tiles -- $(MODELS)
	$(CARGO) bench --locked --bench overlap
	$(CARGO) bench --locked --bench memory -- $(if $(QUICK),quick) $(MODELS)
	$(CARGO) bench --locked --bench ledger -- $(if $(QUICK),quick)
	$(CARGO) bench --locked --bench intake -- $(if $(QUICK),quick)

test-photos: link-runtime ## photos before exiftool and libvips (libimage-exiftool-perl, libvips-tools)
	$(CARGO) test --release --locked --test photos -- --include-ignored

# Builds of ONNX Runtime for the tests alone, beside whatever runtime/ holds.
TEST_RUNTIMES := $(TARGET_DIR)/runtimes

test-providers: link-runtime ## OpenVINO, WebGPU and CUDA without their devices (fetches 2 GB; chromium-common, libvulkan1)
	@for set in openvino webgpu cuda; do scripts/fetch-runtime --$$set $(TEST_RUNTIMES)/$$set || exit 1; done
	UPSCALED_TEST_RUNTIMES=$(abspath $(TEST_RUNTIMES)) $(CARGO) test --locked --test providers --test plugin -- --include-ignored

# Not runtime/, which is whatever somebody chose for this machine. TENSORRT=1 fetches TensorRT too.
GPU_RUNTIME := $(CURDIR)/runtime-gpu
GPU_REPORT  := $(abspath $(TARGET_DIR))/gpu-report.md

test-gpu: ## CUDA and TensorRT on an NVIDIA GPU, with a report (fetches CUDA, 1.2 GB, or ORT_DYLIB_PATH; TENSORRT=1)
	@[ -e /dev/nvidiactl ] || [ -e /dev/dxg ] || { echo 'make test-gpu: there is no NVIDIA GPU here (no /dev/nvidiactl), so nothing was tested; run it on a machine with one, in a container with --gpus all' >&2; exit 1; }
	@[ -n "$$ORT_DYLIB_PATH" ] || scripts/fetch-runtime $(if $(TENSORRT),--tensorrt,--cuda) $(GPU_RUNTIME)
	ORT_DYLIB_PATH="$${ORT_DYLIB_PATH:-$(GPU_RUNTIME)/libonnxruntime.so}" UPSCALED_GPU_REPORT="$(GPU_REPORT)" \
		$(CARGO) test --release --locked --test gpu -- --ignored --nocapture
	@echo 'the report: $(GPU_REPORT)'

fmt: ## format the code
	$(CARGO) fmt

# What the unit may expose at most, as systemd-analyze counts: 3.0.
EXPOSURE := 30

# A version of systemd that does not know a word says that it ignores it, which the unit counts on; nothing else may be
# said. The binary need not be installed.
check-unit: ## systemd's opinion of the unit: no mistakes, exposure 3.0 or better
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' systemd/upscaled.service > $$dir/upscaled.service && \
	systemd-analyze --man=no verify $$dir/upscaled.service 2> $$dir/said || { cat $$dir/said >&2; exit 1; }; \
	if grep -v -e 'ignoring: notify-reload$$' -e "Unknown key.*Restart\(Steps\|MaxDelaySec\)" $$dir/said >&2; then exit 1; fi; \
	systemd-analyze security --offline=true --threshold=$(EXPOSURE) $$dir/upscaled.service 2>/dev/null > $$dir/told; ended=$$?; \
	tail -n 1 $$dir/told; exit $$ended

# Everything that a package holds beside the binary, as it is installed below /usr; cargo-deb puts it into place.
STAGED     := $(TARGET_DIR)/package
MAINTAINER := $(shell sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
staged:
	@[ -x $(BIN) ] || { echo '$(BIN) is missing; run make build first' >&2; exit 1; }
	mkdir -p $(STAGED)
	sed 's|/usr/local/bin/|/usr/bin/|' systemd/upscaled.service > $(STAGED)/upscaled.service
	gzip -9n < CHANGELOG.md > $(STAGED)/changelog.gz
	version=$$($(BIN) --version | cut -d' ' -f2) && printf 'upscaled (%s-1) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' \
		"$$version" 'See changelog.gz.' '$(MAINTAINER)' "$$(date -uR -r CHANGELOG.md)" > $(STAGED)/changelog.debian
	$(BIN) man | gzip -9n > $(STAGED)/upscaled.1.gz
	$(BIN) completions bash > $(STAGED)/upscaled.bash
	$(BIN) completions zsh > $(STAGED)/_upscaled
	$(BIN) completions fish > $(STAGED)/upscaled.fish

deb: build staged ## build a Debian package (needs cargo-deb: cargo install cargo-deb)
	$(CARGO) deb --no-build

# Does not build: `sudo make install` should not leave a target/ that belongs to root.
install: ## install binary, ONNX Runtime, service, man page, completions (after make build; as root)
	@[ -x $(BIN) ] || { echo 'make install: $(BIN) is missing; run make build first' >&2; exit 1; }
	@[ -e runtime/libonnxruntime.so ] || echo 'make install: runtime/ is empty, so ONNX Runtime is not installed; the service needs ORT_DYLIB_PATH or [runtime] library' >&2
	$(INSTALL) -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/upscaled
	@# The library last: what it loads is beside it by then.
	if [ -e runtime/libonnxruntime.so ]; then \
		$(INSTALL) -d $(DESTDIR)$(LIB_DIR)/runtime && \
		for file in runtime/*; do \
			[ ! -L $$file ] || continue; \
			case $$file in *.so*) mode=755 ;; *) mode=644 ;; esac; \
			$(INSTALL) -m $$mode $$file $(DESTDIR)$(LIB_DIR)/runtime/ || exit 1; \
		done && \
		cp -Pf runtime/libonnxruntime.so $(DESTDIR)$(LIB_DIR)/runtime/; \
	fi
	$(INSTALL) -d $(DESTDIR)$(UNIT_DIR)
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' systemd/upscaled.service > $(DESTDIR)$(UNIT_DIR)/upscaled.service
	chmod 644 $(DESTDIR)$(UNIT_DIR)/upscaled.service
	$(INSTALL) -D -m 755 scripts/fetch-runtime $(DESTDIR)$(LIB_DIR)/fetch-runtime
	$(INSTALL) -D -m 644 systemd/upscaled.sysusers $(DESTDIR)/usr/lib/sysusers.d/upscaled.conf
	$(INSTALL) -D -m 644 systemd/upscaled.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/upscaled.conf
	[ -e $(DESTDIR)$(ETC_DIR)/config.toml ] || $(INSTALL) -D -m 644 config.example.toml $(DESTDIR)$(ETC_DIR)/config.toml
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BIN) man > $(DESTDIR)$(PREFIX)/share/man/man1/upscaled.1
	$(BIN) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/upscaled
	$(BIN) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_upscaled
	$(BIN) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/upscaled.fish
	@# Into a DESTDIR goes a package, whose own scripts do this on the machine that it ends up on.
	[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || { systemd-sysusers upscaled.conf && systemd-tmpfiles --create upscaled.conf && systemctl daemon-reload; }
	@echo 'installed; next: edit $(ETC_DIR)/config.toml, then systemctl enable --now upscaled'

uninstall: ## remove what install put there; configuration, ledger, user and pictures stay
	[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || systemctl disable --now upscaled || true
	rm -f $(DESTDIR)$(PREFIX)/bin/upscaled $(DESTDIR)$(UNIT_DIR)/upscaled.service \
		$(DESTDIR)/usr/lib/sysusers.d/upscaled.conf $(DESTDIR)/usr/lib/tmpfiles.d/upscaled.conf \
		$(DESTDIR)$(LIB_DIR)/fetch-runtime \
		$(DESTDIR)$(PREFIX)/share/man/man1/upscaled.1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/upscaled \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_upscaled \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/upscaled.fish
	rm -rf $(DESTDIR)$(LIB_DIR)/runtime
	-rmdir $(DESTDIR)$(LIB_DIR)
	[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

clean: ## remove what was built; runtime/ stays
	$(CARGO) clean
	rm -rf demo
