# System tests: shell files that tests/run starts, and the small programs that do what sh cannot.
check_PROGRAMS += $(system_helpers)
system_helpers = \
	tests/system/helpers/posix tests/system/helpers/twomounts tests/system/helpers/acklog \
	tests/system/helpers/dgram tests/system/helpers/console tests/system/helpers/consolenoise \
	tests/system/helpers/iotool tests/system/helpers/udpproxy
tests_system_helpers_posix_SOURCES = \
	tests/system/helpers/tap.h tests/system/helpers/tap.c tests/system/helpers/posix.c \
	tests/system/helpers/names.c tests/system/helpers/attrs.c tests/system/helpers/io.c \
	tests/system/helpers/dirs.c tests/system/helpers/perm.c
tests_system_helpers_twomounts_SOURCES = \
	tests/system/helpers/tap.h tests/system/helpers/tap.c tests/system/helpers/twomounts.c
tests_system_helpers_acklog_SOURCES = \
	tests/system/helpers/acknote.h tests/system/helpers/ackshare.h \
	tests/system/helpers/acknote.c tests/system/helpers/ackshare.c tests/system/helpers/acklog.c
tests_system_helpers_dgram_SOURCES = tests/system/helpers/dgram.c
tests_system_helpers_console_SOURCES = tests/system/helpers/console.c
tests_system_helpers_consolenoise_SOURCES = tests/system/helpers/consolenoise.c
tests_system_helpers_iotool_SOURCES = tests/system/helpers/iotool.c
tests_system_helpers_udpproxy_SOURCES = tests/system/helpers/udpproxy.c

system_tests = \
	tests/system/00-usage.sh \
	tests/system/01-tools.sh \
	tests/system/02-faults.sh \
	tests/system/10-posix.sh \
	tests/system/11-two-mounts.sh \
	tests/system/12-mount.sh \
	tests/system/13-dht.sh \
	tests/system/20-bad-start.sh \
	tests/system/21-disk-full.sh \
	tests/system/22-damage.sh \
	tests/system/23-noise.sh \
	tests/system/24-console-noise.sh \
	tests/system/25-console.sh \
	tests/system/26-dissector.sh \
	tests/system/30-kill.sh \
	tests/system/31-join.sh \
	tests/system/32-restart.sh \
	tests/system/33-failover.sh \
	tests/system/34-stopped.sh \
	tests/system/35-partition.sh \
	tests/system/36-bad-network.sh \
	tests/system/37-lost-disk.sh \
	tests/system/38-two-volcanos.sh \
	tests/system/39-disk-fails.sh \
	tests/system/40-trees.sh \
	tests/system/41-git.sh \
	tests/system/42-build.sh \
	tests/system/43-sqlite.sh \
	tests/system/44-large.sh \
	tests/system/45-programs.sh \
	tests/system/60-two-volcanos.sh \
	tests/system/61-witness.sh \
	tests/system/62-planned-stop.sh \
	tests/system/64-both-went-on.sh \
	tests/system/65-conflicts.sh \
	tests/system/66-away.sh \
	tests/system/67-one-copy.sh \
	tests/system/68-trees.sh \
	tests/system/50-install.sh \
	tests/system/63-replace.sh \
	tests/system/big/million-entries.sh \
	tests/system/big/million-flares.sh \
	tests/system/big/noise-million.sh

# What a system test or a benchmark needs built beside the programs.
helpers: $(system_helpers) $(bench_programs)
.PHONY: helpers

EXTRA_DIST += \
	quickstart tests/setup \
	tests/system/lib.sh tests/system/lib-faults.sh tests/system/lib-netns.sh tests/system/sweep $(system_tests)
