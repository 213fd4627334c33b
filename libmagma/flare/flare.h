/* Flares: what they are called, what they carry, who may do what. Pure; any thread. */
#pragma once
#include <glib.h>
#include <sys/stat.h>
#include "libmagma/key/key.h"

#define MAGMA_NAME_MAX 255
#define MAGMA_PATH_MAX 4096
#define MAGMA_SYMLINK_MAX 4095
#define MAGMA_DATA_MAX (1u << 20)     /* bytes of content in one READ or WRITE */
#define MAGMA_XATTR_MAX 65536
#define MAGMA_INLINE_MAX 8192         /* contents up to this size live in the store's rows */
#define MAGMA_ROOT_INO 1
#define MAGMA_GROUPS_MAX 8192         /* supplementary groups in one request (32 KiB of the 64 KiB beside the content); more are not sent */

/* A flare's id. key: SHA-1 of its path at birth, says which volcano has it. ino: unique in the network, never reused:
 * 16 bits of maker (from the lava map, one per life of a storage folder), 48 bits of the maker's counter. */
typedef struct {
	MagmaKey key;
	guint64 ino;
} MagmaFid;
gboolean magma_fid_equal(const MagmaFid *a, const MagmaFid *b);
guint magma_fid_hash(gconstpointer fid);
MagmaFid magma_fid_root(void);        /* key of "/", ino 1 */

typedef struct {
	gint64 sec;
	guint32 nsec;                 /* 0..999999999 */
} MagmaTs;
static inline int magma_ts_cmp(MagmaTs a, MagmaTs b)
{
	return a.sec != b.sec ? (a.sec < b.sec ? -1 : 1) : a.nsec != b.nsec ? (a.nsec < b.nsec ? -1 : 1) : 0;
}

enum {
	MAGMA_ATTR_HAS_CAPABILITY = 1,   /* a security.capability attribute exists */
	MAGMA_ATTR_HAS_XATTR = 2,        /* any extended attribute exists */
};

typedef struct {
	MagmaFid fid;
	guint32 mode;                 /* S_IFMT bits and permissions, as in stat(2) */
	guint32 nlink;
	guint32 uid, gid;
	guint64 rdev;
	guint64 size;                 /* regular: bytes; directory: entries; symlink: length of the target */
	guint64 blocks;               /* 512-byte units */
	MagmaTs atime, mtime, ctime, btime;
	guint32 flags;                /* MAGMA_ATTR_* */
} MagmaAttr;

/* Who asks. groups_be: ngroups big-endian 32-bit ids inside the message, borrowed; has_groups FALSE: not sent. */
typedef struct {
	guint32 uid, gid;
	guint16 umask;
	gboolean has_groups;
	guint16 ngroups;
	const guint8 *groups_be;
} MagmaCred;
gboolean magma_cred_in_group(const MagmaCred *c, guint32 gid);

enum { MAGMA_X = 1, MAGMA_W = 2, MAGMA_R = 4 };
/* May c do want (MAGMA_R|W|X) on a flare of that mode and owner? 0, EACCES, or MAGMA_ENEEDGROUPS where the
 * supplementary groups decide and were not sent. Root may all but execute what nobody may execute (POSIX, path_resolution(7)). */
int magma_perm_check(const MagmaCred *c, guint32 mode, guint32 uid, guint32 gid, guint32 want);
/* Sticky rule (unlink, rename): EPERM unless c is root or owns the directory or the child. */
int magma_perm_sticky(const MagmaCred *c, guint32 dir_mode, guint32 dir_uid, guint32 child_uid);
/* May c set these? 0, EPERM, or MAGMA_ENEEDGROUPS. chmod(2): *mode loses S_ISGID where c is not root and not in the file's group. */
int magma_perm_chmod(const MagmaCred *c, const MagmaAttr *a, guint32 *mode);
/* chown(2): uid or gid (guint32)-1 leaves it. Only root gives away; the owner may change to a group it is in. */
int magma_perm_chown(const MagmaCred *c, const MagmaAttr *a, guint32 uid, guint32 gid);
/* Mode after a write, truncate or chown by somebody without CAP_FSETID: no S_ISUID, no S_ISGID where group-executable.
 * A directory keeps both. */
guint32 magma_mode_killpriv(guint32 mode);

/* 1..255 bytes, no '/', no NUL, not "." or "..". */
gboolean magma_name_valid(const guint8 *name, gsize len);
