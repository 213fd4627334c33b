/* What a fuzz target is: any bytes may come, nothing may break. Called by libFuzzer, or by replay.c. Returns 0. */
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
