#!/bin/sh
# timeout: 1800
# By hand: 23-noise with a million datagrams of each kind.
MAGMA_DATAGRAMS=4000000 exec sh "${0%/*}/../23-noise.sh"
