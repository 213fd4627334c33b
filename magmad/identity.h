/* DIR/volcano.conf, group [volcano]: what a storage folder knows of the volcano it belongs to. Its being there is what makes a folder a volcano's. */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"
#include "libmagma/xport/xport.h"

typedef struct {
	char *name, *fqdn;
	MagmaAddr addr;               /* flare port */
	guint32 bandwidth;            /* Kbit/s */
	guint64 offered;              /* bytes */
	guint16 copies;               /* wanted, where it begins the network */
	gboolean bootstrap;           /* it began the network, or is to */
	MagmaAddr join;               /* flare address of the volcano to join; family 0: none */
	gboolean again;               /* -j was given to a volcano that is in a network: join must be in it too */
	gboolean pending;             /* the first start has not been completed: bootstrap or join is still to do */
	char network[33];             /* hex; "" while unknown */
	guint8 psk[MAGMA_PSK_LEN];
} Identity;

typedef enum {
	FOLDER_MISSING, FOLDER_EMPTY,
	FOLDER_VOLCANO,               /* has a volcano.conf that says whose it is */
	FOLDER_FOREIGN,               /* has something else */
	FOLDER_ERROR
} FolderState;

/* Looks, touches nothing. A lock file, the lost+found of a file system of its own, and what a first start cut off very early leaves, do not count. */
FolderState folder_look(const char *dir, GError **error);

/* Moves all stores of a volcano into DIR/conflicts/TIME, durably; that path (to free), or NULL. Goes on with one that is no store yet, whatever of it was moved. */
char *folder_set_aside(const char *dir, GError **error);
/* One into which all was moved, and which is no store yet; NULL: there is none. */
char *folder_aside_left(const char *dir);
/* With everything in it; blocks. stop (may be NULL): ends early once *stop, read atomically, is not 0. Any thread. */
void folder_remove(const char *path, const int *stop);

Identity *identity_new(void);
void identity_free(Identity *id);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Identity, identity_free)
/* NULL and an error that names file and key: missing, damaged, of a newer format, readable by others. */
Identity *identity_load(const char *dir, GError **error);
/* Atomically and durably: temporary file, fsync, rename, fsync of the folder; mode 0600. */
gboolean identity_save(const Identity *id, const char *dir, GError **error);
/* The two without the file: for tests and the fuzzer. */
Identity *identity_parse(const char *file, const char *text, gsize len, GError **error);
char *identity_format(const Identity *id);
/* Before the store is made in a folder that counts as empty. */
void folder_prepare(const char *dir);
/* The highest folder on the way to dir that is not there yet; NULL: dir is there. To free. dir is absolute. */
char *folder_first_missing(const char *dir);
/* After a first start that failed: removes what it made in a folder that was empty, and the folders down from first_missing (may be NULL). */
void folder_undo(const char *dir, const char *first_missing);
