/* The ONE table of operations. A row feeds the enum, the structs, codec, dispatch, counters, dump, fuzz seeds and docs/protocol.md.
 *
 * OP(name, number, flags): a request struct magma_req_<name>, a reply struct magma_rep_<name>; their fields stand in REQ_<name> and REP_<name>.
 * F(type, field): types are
 *   u8 u16 u32 u64 i64   integers
 *   key fid ts attr      as in key.h and flare.h
 *   name                 MagmaBytes, 1..255 bytes, a valid name (magma_name_valid)
 *   path                 MagmaBytes, 0..4096 bytes without NUL
 *   text                 MagmaBytes, 0..1024 bytes
 *   blob                 MagmaBytes, 0..65536 bytes
 *   data                 MagmaBytes, 0..1 MiB; only as the last field: its bytes may travel as the body of the message
 * Decoded MagmaBytes point into the message. Encodings of lists inside blob and data: proto/list.h.
 *
 * Routing: the first field of type fid of a request (or key, where there is none) says which volcano the request goes to.
 * Numbers are never reused: 80, 89 and 90 were node_hello, load and move_order, which nobody sent. */
#pragma once
#include "libmagma/flare/flare.h"

enum {
	MAGMA_OP_MUTATES = 1,   /* its reply is stored: exactly once */
	MAGMA_OP_NODE = 2,      /* only on node sessions */
	MAGMA_OP_ANYONE = 4,    /* not routed by key: whoever gets it answers */
	MAGMA_OP_CLIENT = 8,    /* on flare sessions, and on node sessions where a volcano forwards it */
};

#define MAGMA_OPS(OP) \
	/* sessions and map */ \
	OP(hello,      1, MAGMA_OP_ANYONE | MAGMA_OP_CLIENT) \
	OP(map,        2, MAGMA_OP_ANYONE | MAGMA_OP_CLIENT | MAGMA_OP_NODE) \
	OP(ping,       3, MAGMA_OP_ANYONE | MAGMA_OP_CLIENT | MAGMA_OP_NODE) \
	OP(goodbye,    4, MAGMA_OP_ANYONE | MAGMA_OP_CLIENT) \
	OP(reopen,     5, MAGMA_OP_CLIENT) \
	/* names */ \
	OP(lookup,    10, MAGMA_OP_CLIENT) \
	OP(peek,      11, MAGMA_OP_CLIENT) \
	OP(mknod,     12, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(mkdir,     13, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(symlink,   14, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(create,    15, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(link,      16, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(unlink,    17, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(rmdir,     18, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(rename,    19, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(readdir,   20, MAGMA_OP_CLIENT) \
	/* one flare */ \
	OP(getattr,   30, MAGMA_OP_CLIENT) \
	OP(getattrs,  31, MAGMA_OP_CLIENT) \
	OP(setattr,   32, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(readlink,  33, MAGMA_OP_CLIENT) \
	OP(access,    34, MAGMA_OP_CLIENT) \
	OP(getxattr,  35, MAGMA_OP_CLIENT) \
	OP(setxattr,  36, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(listxattr, 37, MAGMA_OP_CLIENT) \
	OP(removexattr, 38, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	/* contents */ \
	OP(open,      50, MAGMA_OP_CLIENT) \
	OP(release,   51, MAGMA_OP_CLIENT) \
	OP(read,      52, MAGMA_OP_CLIENT) \
	OP(write,     53, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(fallocate, 54, MAGMA_OP_CLIENT | MAGMA_OP_MUTATES) \
	OP(seek,      55, MAGMA_OP_CLIENT) \
	OP(fsync,     56, MAGMA_OP_CLIENT) \
	OP(statfs,    57, MAGMA_OP_CLIENT) \
	/* between volcanos */ \
	OP(join,       81, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(new_map,    82, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(prepare,    83, MAGMA_OP_NODE) \
	OP(settle,     84, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(resolve,    85, MAGMA_OP_NODE) \
	OP(parent,     86, MAGMA_OP_NODE) \
	OP(sync,       87, MAGMA_OP_NODE) \
	OP(status,     88, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_rows,  91, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_data,  92, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_ready, 93, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_commit, 94, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(halt,       95, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_opens, 96, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(raft,       97, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(suspect,    98, MAGMA_OP_NODE) \
	OP(names,      99, MAGMA_OP_NODE) \
	OP(unname,    100, MAGMA_OP_NODE) \
	OP(adopt,     101, MAGMA_OP_NODE) \
	OP(copy_state, 102, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(leave,     103, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(move_anew, 104, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(clear,     109, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	/* from the owner of a slice to its copies */ \
	OP(mirror_attach, 110, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_start,  111, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_append, 112, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_sync,   113, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_rows,   114, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_contents, 115, MAGMA_OP_ANYONE | MAGMA_OP_NODE) \
	OP(mirror_read,   116, MAGMA_OP_ANYONE | MAGMA_OP_NODE)

#define MAGMA_REQ_hello(F)
#define MAGMA_REP_hello(F) F(u16, volcano) F(u64, boot) F(u32, version) F(text, name) F(data, map)
#define MAGMA_REQ_map(F)
#define MAGMA_REP_map(F) F(data, map)
/* unsafe: MAGMA_UNSAFE_* of libmagma/lava/health.h as this volcano sees it; lines: one of text for each, ended by LF */
#define MAGMA_REQ_ping(F)
#define MAGMA_REP_ping(F) F(u16, volcano) F(u64, boot) F(u32, version) F(text, name) F(text, software) F(u16, copies_wanted) F(u16, copies_kept) F(u32, unsafe) F(blob, lines)
#define MAGMA_REQ_goodbye(F)
#define MAGMA_REP_goodbye(F)
/* opens re-asserted after a restart of the volcano; fids: list of fid; errors: one u32 each */
#define MAGMA_REQ_reopen(F) F(key, route) F(data, fids)
#define MAGMA_REP_reopen(F) F(data, errors)

/* has_attr 0: the flare is on another volcano; type is S_IFMT bits */
#define MAGMA_REQ_lookup(F) F(fid, dir) F(name, name)
#define MAGMA_REP_lookup(F) F(fid, child) F(u32, type) F(u8, has_attr) F(attr, attr)
/* all flares born at that key: list of attr */
#define MAGMA_REQ_peek(F) F(key, key)
#define MAGMA_REP_peek(F) F(data, attrs)
/* key: of the new flare, from its path as the client knows it */
#define MAGMA_REQ_mknod(F) F(fid, dir) F(key, key) F(u32, mode) F(u64, rdev) F(name, name)
#define MAGMA_REP_mknod(F) F(attr, attr)
#define MAGMA_REQ_mkdir(F) F(fid, dir) F(key, key) F(u32, mode) F(name, name)
#define MAGMA_REP_mkdir(F) F(attr, attr)
#define MAGMA_REQ_symlink(F) F(fid, dir) F(key, key) F(name, name) F(path, target)
#define MAGMA_REP_symlink(F) F(attr, attr)
/* makes a regular file and opens it for the client; EEXIST where the name is there, also without O_EXCL: the client then looks it up and opens it */
#define MAGMA_REQ_create(F) F(fid, dir) F(key, key) F(u32, mode) F(u32, flags) F(name, name)
#define MAGMA_REP_create(F) F(attr, attr)
#define MAGMA_REQ_link(F) F(fid, dir) F(fid, flare) F(name, name)
#define MAGMA_REP_link(F) F(attr, attr)
#define MAGMA_REQ_unlink(F) F(fid, dir) F(name, name)
#define MAGMA_REP_unlink(F) F(fid, child)
#define MAGMA_REQ_rmdir(F) F(fid, dir) F(name, name)
#define MAGMA_REP_rmdir(F) F(fid, child)
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE of renameat2(2). replaced.ino 0: nothing was there */
#define MAGMA_REQ_rename(F) F(fid, to_dir) F(fid, from_dir) F(u32, flags) F(name, from_name) F(name, to_name)
#define MAGMA_REP_rename(F) F(fid, moved) F(fid, replaced)
/* cookie 0: from the start; the reply holds entries behind cookie: list of dirent; eof 1: nothing behind them. "." and ".." are the client's. */
#define MAGMA_REQ_readdir(F) F(fid, dir) F(u64, cookie) F(u32, max)
#define MAGMA_REP_readdir(F) F(u8, eof) F(data, entries)

#define MAGMA_REQ_getattr(F) F(fid, fid)
#define MAGMA_REP_getattr(F) F(attr, attr)
/* fids: list of fid of one volcano; attrs: list of (u32 errno, attr if 0) in the same order */
#define MAGMA_REQ_getattrs(F) F(key, route) F(data, fids)
#define MAGMA_REP_getattrs(F) F(data, attrs)
/* mask: MAGMA_SET_* */
#define MAGMA_REQ_setattr(F) F(fid, fid) F(u32, mask) F(u32, mode) F(u32, uid) F(u32, gid) F(u64, size) F(ts, atime) F(ts, mtime)
#define MAGMA_REP_setattr(F) F(attr, attr)
#define MAGMA_REQ_readlink(F) F(fid, fid)
#define MAGMA_REP_readlink(F) F(path, target)
#define MAGMA_REQ_access(F) F(fid, fid) F(u32, mask)
#define MAGMA_REP_access(F)
#define MAGMA_REQ_getxattr(F) F(fid, fid) F(text, name)
#define MAGMA_REP_getxattr(F) F(blob, value)
#define MAGMA_REQ_setxattr(F) F(fid, fid) F(u32, flags) F(text, name) F(blob, value)
#define MAGMA_REP_setxattr(F)
/* names: each ended by NUL, as listxattr(2) */
#define MAGMA_REQ_listxattr(F) F(fid, fid)
#define MAGMA_REP_listxattr(F) F(blob, names)
#define MAGMA_REQ_removexattr(F) F(fid, fid) F(text, name)
#define MAGMA_REP_removexattr(F)

/* flags as in open(2), 0x20 is exec. Checks the permission, truncates with O_TRUNC, notes the open for the client. Directories too.
 * An open is per client and flare, not counted: the client counts its handles and releases the last. */
#define MAGMA_REQ_open(F) F(fid, fid) F(u32, flags)
#define MAGMA_REP_open(F) F(attr, attr)
#define MAGMA_REQ_release(F) F(fid, fid)
#define MAGMA_REP_release(F)
#define MAGMA_REQ_read(F) F(fid, fid) F(u64, offset) F(u32, size)
#define MAGMA_REP_read(F) F(data, data)
/* flags: MAGMA_WRITE_*. offset in the reply: where it went; size: of the flare afterwards */
#define MAGMA_REQ_write(F) F(fid, fid) F(u64, offset) F(u32, flags) F(data, data)
#define MAGMA_REP_write(F) F(u64, offset) F(u64, size)
/* mode: fallocate(2)'s flags */
#define MAGMA_REQ_fallocate(F) F(fid, fid) F(u32, mode) F(u64, offset) F(u64, length)
#define MAGMA_REP_fallocate(F)
/* whence: SEEK_DATA, SEEK_HOLE */
#define MAGMA_REQ_seek(F) F(fid, fid) F(u64, offset) F(u32, whence)
#define MAGMA_REP_seek(F) F(u64, offset)
/* makes content, row and the entry at the parent's owner durable; for a directory its row and its entries */
#define MAGMA_REQ_fsync(F) F(fid, fid) F(u8, datasync)
#define MAGMA_REP_fsync(F)
/* of the volcano that owns key; sizes in bytes */
#define MAGMA_REQ_statfs(F) F(key, key)
#define MAGMA_REP_statfs(F) F(u64, total) F(u64, free) F(u64, avail) F(u64, flares)

#define MAGMA_REQ_join(F) F(text, name) F(text, fqdn) F(blob, addr) F(u32, bandwidth) F(u64, offered) F(u64, token)
#define MAGMA_REP_join(F) F(u16, id) F(text, refusal) F(data, map)
#define MAGMA_REQ_new_map(F) F(data, map)
#define MAGMA_REP_new_map(F) F(u64, epoch)
/* one participant of an operation over two volcanos; opid: 16 bytes as two u64; age: time of the first try, microseconds since 1970;
 * kind: MAGMA_MARK_*; args: its arguments as decided by kind (magmad/core/mark.h) */
#define MAGMA_REQ_prepare(F) F(fid, target) F(u64, op_hi) F(u64, op_lo) F(u64, age) F(fid, coord) F(u8, kind) F(u32, mode) F(fid, flare) F(data, args)
#define MAGMA_REP_prepare(F) F(fid, child) F(attr, attr) F(data, more)
/* marks: list of (op_hi, op_lo, fid target, u8 kind); outcome: MAGMA_SETTLE_* ; reply: of LEAVE and SWAP those that a FINAL found nothing of, same list */
#define MAGMA_REQ_settle(F) F(u8, outcome) F(data, marks)
#define MAGMA_REP_settle(F) F(data, marks)
/* outcome: MAGMA_SETTLE_*, or ABORT where the coordinator does not know the operation (and never will) */
#define MAGMA_REQ_resolve(F) F(fid, coord) F(u64, op_hi) F(u64, op_lo)
#define MAGMA_REP_resolve(F) F(u8, outcome)
/* the directory's parent, for the loop check of rename */
#define MAGMA_REQ_parent(F) F(fid, fid)
#define MAGMA_REP_parent(F) F(fid, parent)
/* everything acknowledged so far for that flare's volcano is on disk when the reply comes */
#define MAGMA_REQ_sync(F) F(fid, fid)
#define MAGMA_REP_sync(F)
/* started: seconds since 1970. conflicts: stores that are set aside there, list of (u64 time, seconds since 1970, u8 phase: MAGMA_CONFLICT_*, u64 flares that differ so far). copies: of the slices that the volcano owns: list of (u16 slice, u16 volcano, u8 phase, u64 lag, u64 done, u64 total, u64 rate, u8 slow): MagmaCopyState */
#define MAGMA_REQ_status(F)
#define MAGMA_REP_status(F) F(u16, volcano) F(u64, keys) F(u64, used) F(u64, free) F(u64, uptime) F(u64, started) F(u64, clients) F(text, software) F(blob, copies) F(blob, conflicts)
/* records: as in the journal (magmad/core/store.h). sequence counts move_rows, move_data, move_opens and move_ready of one try: in its high half the try, in its low half from 1 without gaps */
#define MAGMA_REQ_move_rows(F) F(u64, move) F(u64, sequence) F(data, records)
#define MAGMA_REP_move_rows(F) F(u64, sequence)
#define MAGMA_REQ_move_data(F) F(fid, fid) F(u64, move) F(u64, sequence) F(u64, offset) F(u64, size) F(data, data)
#define MAGMA_REP_move_data(F)
/* opens: list of (u64 client, fid) */
#define MAGMA_REQ_move_opens(F) F(u64, move) F(u64, sequence) F(data, opens)
#define MAGMA_REP_move_opens(F)
/* source to target: all is there; target makes it durable before it answers */
#define MAGMA_REQ_move_ready(F) F(u64, move) F(u64, sequence)
#define MAGMA_REP_move_ready(F)
/* source to the leader: make it true; the answer is the new map */
#define MAGMA_REQ_move_commit(F) F(u64, move)
#define MAGMA_REP_move_commit(F) F(data, map)
/* source to the leader, of a move that another owner or an earlier life of this one may have begun: it goes on under another id, so that what those still ask for is void; the answer is the new map */
#define MAGMA_REQ_move_anew(F) F(u64, move)
#define MAGMA_REP_move_anew(F) F(data, map)
/* a push, unanswered: one message of the group that votes on the map (docs/reliability.md); from: the volcano that sends it */
#define MAGMA_REQ_raft(F) F(u16, from) F(data, msg)
#define MAGMA_REP_raft(F)
/* of the owner of a slice under that epoch, to the leader: this copy has everything and is waited for: it counts from now on (in_sync 1); or it does not answer, and is to count no longer (0); or this owner was
 * restarted, and that copy has frames that it lacks, or its store cannot be opened: the copy shall own the slice, and it be a copy that does not count (2).
 * life: which start of the owner says so, as in its proofs of life: what an earlier one asked for is refused */
#define MAGMA_REQ_copy_state(F) F(u16, slice) F(u64, epoch) F(u16, volcano) F(u8, in_sync) F(u32, life)
#define MAGMA_REP_copy_state(F)
/* That volcano ends, and answers nobody any more: its slices go to their copies, it counts as down. EBUSY: the leader ends as well. life: which start of it */
#define MAGMA_REQ_leave(F) F(u16, volcano) F(u32, life)
#define MAGMA_REP_leave(F)
/* The stores that were set aside there at that time are removed. ENOENT: there are none */
#define MAGMA_REQ_clear(F) F(u64, time)
#define MAGMA_REP_clear(F)
#define MAGMA_REQ_halt(F)
#define MAGMA_REP_halt(F)
/* this flare's names and links may not add up: to its owner, who remembers it durably and counts */
#define MAGMA_REQ_suspect(F) F(fid, fid)
#define MAGMA_REP_suspect(F)
/* who in that slice names these? fids: list of fid; found: list of (u8 what, u32 index in fids, and for MAGMA_NAMES_ENTRY fid directory, u32 length and name). EBUSY: by another map, or a slice is on its way */
#define MAGMA_REQ_names(F) F(key, slice) F(u64, epoch) F(data, fids)
#define MAGMA_REP_names(F) F(data, found)
/* takes that name away if it still leads to child; removed 0: it did not. On disk when the reply comes */
#define MAGMA_REQ_unname(F) F(fid, dir) F(fid, child) F(name, name)
#define MAGMA_REP_unname(F) F(u8, removed)
/* gives a directory without a name the name restored-INO in dir. On disk when the reply comes */
#define MAGMA_REQ_adopt(F) F(fid, dir) F(fid, child)
#define MAGMA_REP_adopt(F)
/* epoch: of the ownership, in a reply the newest one the copy knows. error: an errno; ESTALE: somebody owns the slice under that newer epoch; ENOTCONN: not this stream.
 * A new stream begins: where does your log end? attempt grows within an epoch. life: random, of the copy's process; at: its last frame; floor: what it cannot undo; whole: it is not in the middle of being filled;
 * epochs: list of (u64 epoch, u64 first index) */
#define MAGMA_REQ_mirror_attach(F) F(u32, slice) F(u64, epoch) F(u64, attempt)
#define MAGMA_REP_mirror_attach(F) F(u32, error) F(u64, epoch) F(u64, stream) F(u64, life) F(u64, at_epoch) F(u64, at_index) F(u64, floor) F(u8, whole) F(blob, progress) F(data, epochs)
/* how: 0 undo what is behind at_index, 1 empty the store, its log goes on behind (at_epoch, at_index), 2 keep rows and contents, its log goes on behind that: they will be compared */
#define MAGMA_REQ_mirror_start(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u8, how) F(u64, at_epoch) F(u64, at_index)
#define MAGMA_REP_mirror_start(F) F(u32, error) F(u64, epoch)
/* sequence: from 0 within the stream. items: what is to be done in order (magmad/mirror/item.h), bytes: their payloads one behind the other. The answer: all that, and everything before, is done and written.
 * different: list of u64, the numbers of the digests that were not those of the copy's content */
#define MAGMA_REQ_mirror_append(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u64, sequence) F(blob, items) F(data, bytes)
#define MAGMA_REP_mirror_append(F) F(u32, error) F(u64, epoch) F(data, different)
/* everything of the messages below sequence is made durable: the journal (journal 1), the contents of fids (list of fid) */
#define MAGMA_REQ_mirror_sync(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u64, sequence) F(u8, journal) F(data, fids)
#define MAGMA_REP_mirror_sync(F) F(u32, error) F(u64, epoch)
/* which rows of that table has the copy with keys in (from, to]? from empty: from the first on; to empty: to the last. rows, digest: how many the owner has, and the SHA-256 over their digests, each the first
 * 16 bytes of a SHA-256; digest empty: not compared. same 1: they are the same. Else list of (u8 1: it may have a content, u16 length and key, if it may have a content 20 routing key, 16 digest); upto not
 * empty: the list ends behind that key */
#define MAGMA_REQ_mirror_rows(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u8, table) F(blob, from) F(blob, to) F(u32, rows) F(blob, digest)
#define MAGMA_REP_mirror_rows(F) F(u32, error) F(u64, epoch) F(u8, same) F(blob, upto) F(data, list)
/* which contents has the copy, by the first two bytes of their keys from folder on? fids: list of fid, unordered; next: where to go on, 65536: that was all */
#define MAGMA_REQ_mirror_contents(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u32, folder)
#define MAGMA_REP_mirror_contents(F) F(u32, error) F(u64, epoch) F(u32, next) F(data, fids)
/* the owner's disk does not read there: that part of the content with everything in it of the messages below sequence; short at its end */
#define MAGMA_REQ_mirror_read(F) F(u32, slice) F(u64, epoch) F(u64, stream) F(u64, sequence) F(fid, fid) F(u64, offset) F(u32, size)
#define MAGMA_REP_mirror_read(F) F(u32, error) F(u64, epoch) F(data, data)

/* setattr mask */
enum {
	MAGMA_SET_MODE = 1, MAGMA_SET_UID = 2, MAGMA_SET_GID = 4, MAGMA_SET_SIZE = 8,
	MAGMA_SET_ATIME = 16, MAGMA_SET_MTIME = 32, MAGMA_SET_ATIME_NOW = 64, MAGMA_SET_MTIME_NOW = 128,
	MAGMA_SET_BY_HANDLE = 256,    /* ftruncate: authorised by the open */
	MAGMA_SET_KILLPRIV = 512,     /* clear setuid, setgid and security.capability, as after a truncate by a non-owner */
};
enum {
	MAGMA_WRITE_APPEND = 1,       /* to the end of file as the owner knows it, whatever offset says */
	MAGMA_WRITE_KILLPRIV = 2,
	MAGMA_WRITE_DSYNC = 4,        /* O_DSYNC, O_SYNC: durable before the reply */
};
/* what of names: an entry; or an operation over two volcanos is under way with that flare: count again later */
enum { MAGMA_NAMES_BUSY = 0, MAGMA_NAMES_ENTRY = 1 };
enum { MAGMA_SETTLE_ABORT = 0, MAGMA_SETTLE_COMMIT = 1, MAGMA_SETTLE_FINAL = 2, MAGMA_SETTLE_PENDING = 3 };
