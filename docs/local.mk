# Documents that are shipped, and manual pages.
EXTRA_DIST += docs/architecture.md docs/testing.md docs/performance.md
