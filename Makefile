# `make help` lists the targets. Each installs what it needs and is quick the second time.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

INPUT ?=
ARGS ?=
FORGE := .tools/bin/forge

.PHONY: help setup demo test crash check check-code check-contracts api bench bench-load attack-suite long-run determinism kernels hostile fuzz fmt abi dashboard docs package

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a whole market on this machine; INPUT=clip plays your clip, ARGS=--keep then takes streams by RTMP
	scripts/setup build chain media
	cargo build --release --locked --package framemill
	target/release/framemill demo $(ARGS) $(if $(INPUT),"$(INPUT)")

test: ## every test: Rust, contracts, chain, browser, PostgreSQL
	scripts/setup build contracts browser postgres s3 prometheus nat simulator kernels package pages
	scripts/test

crash: ## 400 kills over both stores: of who pays and is paid at once, of either alone, of the server under them
	scripts/setup build postgres
	PROBABILISTIC_TICKET_KILLS=100 cargo test --locked --package probabilistic-ticket --test it -- --nocapture kill::killed sides::either

check: ## format, lints, documentation, the library's public surface, dependencies, the page's bundle, the Dockerfile; of the contracts ABI, layout, code size, gas, static analysis
	scripts/setup build check
	@# The compiler of the contracts takes minutes of one core: the lints use the others.
	$(MAKE) --no-print-directory --jobs 2 --output-sync=line check-code check-contracts

check-code:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path verification/cross/Cargo.toml --check
	cargo fmt --manifest-path tools/api/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	cargo clippy --manifest-path tools/api/Cargo.toml --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items --locked
	scripts/api --check
	scripts/dependencies
	scripts/dashboard --check
	scripts/hadolint

check-contracts:
	cd contracts && ../$(FORGE) fmt --check && ../$(FORGE) build --offline
	contracts/tools/export-abi --check
	contracts/tools/layout --check
	contracts/tools/gas-table --check
	scripts/slither

bench: ## figures against a peer in the same run: ladder, verification, tickets
	scripts/setup build browser
	scripts/bench

bench-load: ## streams that one broadcaster sustains here, where it breaks and why; ARGS="--streams 300 --seconds 60"
	scripts/setup build chain
	scripts/bench-load $(ARGS)

attack-suite: ## what verification catches and refuses, beside known metrics; ARGS="--every 4 --rungs 360 --peers" (long)
	scripts/setup build media
	cargo run --release --locked --package framemill-verification --example attack_suite -- $(ARGS)

long-run: ## hours of a stream at fast forward through one software engine, and an hour through two in turn; ARGS=HOURS (long)
	scripts/setup build media
	cargo run --release --locked --package framemill-transcoder --example long_run -- $(ARGS)
	cargo run --release --locked --package framemill-transcoder --example joins

determinism: ## the same features and reports of 100,000 fuzzed frames in every way, 64-bit ARM emulated; ARGS=FRAMES (long)
	scripts/setup build browser
	scripts/determinism $(ARGS)

kernels: ## rebuild the committed PTX of the CUDA kernels
	scripts/kernels

hostile: ## every clip cut off and damaged, in processes that may die of it; ARGS="--seed 7 --clip NAME" (long)
	scripts/setup build media
	cargo run --locked --package framemill-transcoder --example hostile -- $(ARGS)

fuzz: ## fuzz what reads strangers' bytes; ARGS="TARGET SECONDS", without them the targets
	scripts/setup build
	scripts/fuzz $(ARGS)

fmt: ## format Rust and Solidity
	scripts/setup chain
	cargo fmt --all
	cd contracts && ../$(FORGE) fmt

abi: ## rebuild the committed contract ABIs, storage layouts and code sizes
	scripts/setup contracts
	cd contracts && ../$(FORGE) build --offline
	contracts/tools/export-abi
	contracts/tools/layout

dashboard: ## rebuild the committed bundle of the page that nodes serve
	scripts/setup dashboard
	scripts/dashboard

api: ## rewrite the listing of the library's public surface, broadcaster/api.txt; ARGS=--release keeps it as that of this version
	scripts/setup build
	scripts/api $(ARGS)

docs: ## rewrite the reference pages of commands, settings, metrics, wire errors and HTTP routes from the code
	scripts/setup build
	cargo run --quiet --locked --package framemill -- generate docs docs/reference

package: ## a Debian package for this Debian, in target/package
	scripts/setup build package
	cargo build --release --locked --package framemill
	scripts/package

setup: ## install everything the other targets need
	scripts/setup
