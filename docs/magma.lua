-- Wireshark and tshark (4.0 and newer): the flare and node protocols of Magma. docs/protocol.md says how to use this file; the rules cited here
-- (D1, K4, P1 ...) stand in docs/protocol-sessions.md, messages and fields in docs/protocol.md.
--
-- Everything is sealed: what is inside is shown for sessions whose keys are in the key log file (MAGMA_KEYLOG=FILE in the environment of either
-- end). Tags are not checked. A datagram counts as opened when its frames are in order, which damaged and forged ones are not.

-- The table of operations, from libmagma/proto/ops.h; brought up to date by `make protocol-doc`.
-- operations: begin
local OPERATIONS = {
	[1] = { name = "hello", request = {}, reply = { { "u16", "volcano" }, { "u64", "boot" }, { "u32", "version" }, { "text", "name" }, { "data", "map" } } },
	[2] = { name = "map", request = {}, reply = { { "data", "map" } } },
	[3] = { name = "ping", request = {}, reply = { { "u16", "volcano" }, { "u64", "boot" }, { "u32", "version" }, { "text", "name" }, { "text", "software" }, { "u16", "copies_wanted" }, { "u16", "copies_kept" }, { "u32", "unsafe" }, { "blob", "lines" } } },
	[4] = { name = "goodbye", request = {}, reply = {} },
	[5] = { name = "reopen", request = { { "key", "route" }, { "data", "fids" } }, reply = { { "data", "errors" } } },
	[10] = { name = "lookup", request = { { "fid", "dir" }, { "name", "name" } }, reply = { { "fid", "child" }, { "u32", "type" }, { "u8", "has_attr" }, { "attr", "attr" } } },
	[11] = { name = "peek", request = { { "key", "key" } }, reply = { { "data", "attrs" } } },
	[12] = { name = "mknod", request = { { "fid", "dir" }, { "key", "key" }, { "u32", "mode" }, { "u64", "rdev" }, { "name", "name" } }, reply = { { "attr", "attr" } } },
	[13] = { name = "mkdir", request = { { "fid", "dir" }, { "key", "key" }, { "u32", "mode" }, { "name", "name" } }, reply = { { "attr", "attr" } } },
	[14] = { name = "symlink", request = { { "fid", "dir" }, { "key", "key" }, { "name", "name" }, { "path", "target" } }, reply = { { "attr", "attr" } } },
	[15] = { name = "create", request = { { "fid", "dir" }, { "key", "key" }, { "u32", "mode" }, { "u32", "flags" }, { "name", "name" } }, reply = { { "attr", "attr" } } },
	[16] = { name = "link", request = { { "fid", "dir" }, { "fid", "flare" }, { "name", "name" } }, reply = { { "attr", "attr" } } },
	[17] = { name = "unlink", request = { { "fid", "dir" }, { "name", "name" } }, reply = { { "fid", "child" } } },
	[18] = { name = "rmdir", request = { { "fid", "dir" }, { "name", "name" } }, reply = { { "fid", "child" } } },
	[19] = { name = "rename", request = { { "fid", "to_dir" }, { "fid", "from_dir" }, { "u32", "flags" }, { "name", "from_name" }, { "name", "to_name" } }, reply = { { "fid", "moved" }, { "fid", "replaced" } } },
	[20] = { name = "readdir", request = { { "fid", "dir" }, { "u64", "cookie" }, { "u32", "max" } }, reply = { { "u8", "eof" }, { "data", "entries" } } },
	[30] = { name = "getattr", request = { { "fid", "fid" } }, reply = { { "attr", "attr" } } },
	[31] = { name = "getattrs", request = { { "key", "route" }, { "data", "fids" } }, reply = { { "data", "attrs" } } },
	[32] = { name = "setattr", request = { { "fid", "fid" }, { "u32", "mask" }, { "u32", "mode" }, { "u32", "uid" }, { "u32", "gid" }, { "u64", "size" }, { "ts", "atime" }, { "ts", "mtime" } }, reply = { { "attr", "attr" } } },
	[33] = { name = "readlink", request = { { "fid", "fid" } }, reply = { { "path", "target" } } },
	[34] = { name = "access", request = { { "fid", "fid" }, { "u32", "mask" } }, reply = {} },
	[35] = { name = "getxattr", request = { { "fid", "fid" }, { "text", "name" } }, reply = { { "blob", "value" } } },
	[36] = { name = "setxattr", request = { { "fid", "fid" }, { "u32", "flags" }, { "text", "name" }, { "blob", "value" } }, reply = {} },
	[37] = { name = "listxattr", request = { { "fid", "fid" } }, reply = { { "blob", "names" } } },
	[38] = { name = "removexattr", request = { { "fid", "fid" }, { "text", "name" } }, reply = {} },
	[50] = { name = "open", request = { { "fid", "fid" }, { "u32", "flags" } }, reply = { { "attr", "attr" } } },
	[51] = { name = "release", request = { { "fid", "fid" } }, reply = {} },
	[52] = { name = "read", request = { { "fid", "fid" }, { "u64", "offset" }, { "u32", "size" } }, reply = { { "data", "data" } } },
	[53] = { name = "write", request = { { "fid", "fid" }, { "u64", "offset" }, { "u32", "flags" }, { "data", "data" } }, reply = { { "u64", "offset" }, { "u64", "size" } } },
	[54] = { name = "fallocate", request = { { "fid", "fid" }, { "u32", "mode" }, { "u64", "offset" }, { "u64", "length" } }, reply = {} },
	[55] = { name = "seek", request = { { "fid", "fid" }, { "u64", "offset" }, { "u32", "whence" } }, reply = { { "u64", "offset" } } },
	[56] = { name = "fsync", request = { { "fid", "fid" }, { "u8", "datasync" } }, reply = {} },
	[57] = { name = "statfs", request = { { "key", "key" } }, reply = { { "u64", "total" }, { "u64", "free" }, { "u64", "avail" }, { "u64", "flares" } } },
	[81] = { name = "join", request = { { "text", "name" }, { "text", "fqdn" }, { "blob", "addr" }, { "u32", "bandwidth" }, { "u64", "offered" }, { "u64", "token" } }, reply = { { "u16", "id" }, { "text", "refusal" }, { "data", "map" } } },
	[82] = { name = "new_map", request = { { "data", "map" } }, reply = { { "u64", "epoch" } } },
	[83] = { name = "prepare", request = { { "fid", "target" }, { "u64", "op_hi" }, { "u64", "op_lo" }, { "u64", "age" }, { "fid", "coord" }, { "u8", "kind" }, { "u32", "mode" }, { "fid", "flare" }, { "data", "args" } }, reply = { { "fid", "child" }, { "attr", "attr" }, { "data", "more" } } },
	[84] = { name = "settle", request = { { "u8", "outcome" }, { "data", "marks" } }, reply = { { "data", "marks" } } },
	[85] = { name = "resolve", request = { { "fid", "coord" }, { "u64", "op_hi" }, { "u64", "op_lo" } }, reply = { { "u8", "outcome" } } },
	[86] = { name = "parent", request = { { "fid", "fid" } }, reply = { { "fid", "parent" } } },
	[87] = { name = "sync", request = { { "fid", "fid" } }, reply = {} },
	[88] = { name = "status", request = {}, reply = { { "u16", "volcano" }, { "u64", "keys" }, { "u64", "used" }, { "u64", "free" }, { "u64", "uptime" }, { "u64", "started" }, { "u64", "clients" }, { "text", "software" }, { "blob", "copies" }, { "blob", "conflicts" } } },
	[91] = { name = "move_rows", request = { { "u64", "move" }, { "u64", "sequence" }, { "data", "records" } }, reply = { { "u64", "sequence" } } },
	[92] = { name = "move_data", request = { { "fid", "fid" }, { "u64", "move" }, { "u64", "sequence" }, { "u64", "offset" }, { "u64", "size" }, { "data", "data" } }, reply = {} },
	[93] = { name = "move_ready", request = { { "u64", "move" }, { "u64", "sequence" } }, reply = {} },
	[94] = { name = "move_commit", request = { { "u64", "move" } }, reply = { { "data", "map" } } },
	[95] = { name = "halt", request = {}, reply = {} },
	[96] = { name = "move_opens", request = { { "u64", "move" }, { "u64", "sequence" }, { "data", "opens" } }, reply = {} },
	[97] = { name = "raft", request = { { "u16", "from" }, { "data", "msg" } }, reply = {} },
	[98] = { name = "suspect", request = { { "fid", "fid" } }, reply = {} },
	[99] = { name = "names", request = { { "key", "slice" }, { "u64", "epoch" }, { "data", "fids" } }, reply = { { "data", "found" } } },
	[100] = { name = "unname", request = { { "fid", "dir" }, { "fid", "child" }, { "name", "name" } }, reply = { { "u8", "removed" } } },
	[101] = { name = "adopt", request = { { "fid", "dir" }, { "fid", "child" } }, reply = {} },
	[102] = { name = "copy_state", request = { { "u16", "slice" }, { "u64", "epoch" }, { "u16", "volcano" }, { "u8", "in_sync" }, { "u32", "life" } }, reply = {} },
	[103] = { name = "leave", request = { { "u16", "volcano" }, { "u32", "life" } }, reply = {} },
	[104] = { name = "move_anew", request = { { "u64", "move" } }, reply = { { "data", "map" } } },
	[109] = { name = "clear", request = { { "u64", "time" } }, reply = {} },
	[110] = { name = "mirror_attach", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "attempt" } }, reply = { { "u32", "error" }, { "u64", "epoch" }, { "u64", "stream" }, { "u64", "life" }, { "u64", "at_epoch" }, { "u64", "at_index" }, { "u64", "floor" }, { "u8", "whole" }, { "blob", "progress" }, { "data", "epochs" } } },
	[111] = { name = "mirror_start", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u8", "how" }, { "u64", "at_epoch" }, { "u64", "at_index" } }, reply = { { "u32", "error" }, { "u64", "epoch" } } },
	[112] = { name = "mirror_append", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u64", "sequence" }, { "blob", "items" }, { "data", "bytes" } }, reply = { { "u32", "error" }, { "u64", "epoch" }, { "data", "different" } } },
	[113] = { name = "mirror_sync", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u64", "sequence" }, { "u8", "journal" }, { "data", "fids" } }, reply = { { "u32", "error" }, { "u64", "epoch" } } },
	[114] = { name = "mirror_rows", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u8", "table" }, { "blob", "from" }, { "blob", "to" }, { "u32", "rows" }, { "blob", "digest" } }, reply = { { "u32", "error" }, { "u64", "epoch" }, { "u8", "same" }, { "blob", "upto" }, { "data", "list" } } },
	[115] = { name = "mirror_contents", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u32", "folder" } }, reply = { { "u32", "error" }, { "u64", "epoch" }, { "u32", "next" }, { "data", "fids" } } },
	[116] = { name = "mirror_read", request = { { "u32", "slice" }, { "u64", "epoch" }, { "u64", "stream" }, { "u64", "sequence" }, { "fid", "fid" }, { "u64", "offset" }, { "u32", "size" } }, reply = { { "u32", "error" }, { "u64", "epoch" }, { "data", "data" } } },
}
-- operations: end

local REQUEST, REPLY, PUSH = 0, 1, 2
local KINDS = { [REQUEST] = "request", [REPLY] = "reply", [PUSH] = "push" }
local MESSAGE_MAX = 1048576 + 65536
local HEADER = { [REQUEST] = 52, [REPLY] = 36, [PUSH] = 32 }
local NO_GROUPS = 65535
local OP_NAMES = {}
for number, op in pairs(OPERATIONS) do OP_NAMES[number] = op.name end

local ERRORS = {
	[0] = "none", [1] = "EPERM", [2] = "ENOENT", [4] = "EINTR", [5] = "EIO", [6] = "ENXIO", [7] = "E2BIG", [9] = "EBADF", [11] = "EAGAIN", [12] = "ENOMEM",
	[13] = "EACCES", [16] = "EBUSY", [17] = "EEXIST", [18] = "EXDEV", [20] = "ENOTDIR", [21] = "EISDIR", [22] = "EINVAL", [26] = "ETXTBSY", [27] = "EFBIG",
	[28] = "ENOSPC", [30] = "EROFS", [31] = "EMLINK", [34] = "ERANGE", [36] = "ENAMETOOLONG", [38] = "ENOSYS", [39] = "ENOTEMPTY", [40] = "ELOOP", [61] = "ENODATA",
	[71] = "EPROTO", [75] = "EOVERFLOW", [95] = "EOPNOTSUPP", [103] = "ECONNABORTED", [110] = "ETIMEDOUT", [116] = "ESTALE", [122] = "EDQUOT", [125] = "ECANCELED",
	[10001] = "EAUTH", [10002] = "ENOBODY", [10003] = "EPROTO", [10004] = "EMAP", [10005] = "EEXPIRED", [10006] = "ENEEDGROUPS", [10007] = "EBACKOFF",
	[10008] = "ETRYAGAIN", [10009] = "ENOTOWNER",
}
local MARKS = {
	[1] = "born", [2] = "reference added", [3] = "reference dropped", [4] = "sealed", [5] = "entry leaves", [6] = "entry swapped", [7] = "new parent", [8] = "rename lock",
}

-- D1. DATA is 0x40 or 0x41, the lowest bit is the key phase.
local HELLO, WELCOME, COOKIE, REJECT, DATA = 1, 2, 3, 4, 0x40
local DATAGRAMS = { [HELLO] = "HELLO", [WELCOME] = "WELCOME", [COOKIE] = "COOKIE", [REJECT] = "REJECT", [DATA] = "DATA, phase 0", [DATA + 1] = "DATA, phase 1" }
local LENGTHS = { [HELLO] = 192, [WELCOME] = 89, [COOKIE] = 41, [REJECT] = 25 }
local DATA_HEADER, TAG = 13, 16
local PAD, PING, ACK, MSG, CLOSE, CHALLENGE, RESPONSE = 0, 1, 2, 3, 4, 5, 6
local FRAMES = { [PAD] = "PAD", [PING] = "PING", [ACK] = "ACK", [MSG] = "MSG", [CLOSE] = "CLOSE", [CHALLENGE] = "CHALLENGE", [RESPONSE] = "RESPONSE" }
local CLOSES = { [0] = "goodbye", [1] = "you broke the protocol" }

---------------------------------------------------------------- bits

-- Lua 5.2 has bit32; newer ones have operators, which older ones must not see; anything else has the bit library that Wireshark brings.
local bits = bit32
if not bits and load and not _VERSION:find("5%.1") then
	local operators = load([[return {
		band = function(a, b) return a & b end,
		bxor = function(a, b, c, d, e) return (a ~ b ~ (c or 0) ~ (d or 0) ~ (e or 0)) & 0xffffffff end,
		rshift = function(a, n) return (a & 0xffffffff) >> n end,
		lrotate = function(a, n) a = a & 0xffffffff; return (a << n | a >> (32 - n)) & 0xffffffff end,
	}]])
	bits = operators and operators()
end
if not bits then
	bits = { band = bit.band, bxor = bit.bxor, rshift = bit.rshift, lrotate = bit.rol }
end
local band, bxor, rshift, lrotate = bits.band, bits.bxor, bits.rshift, bits.lrotate
local pack, unpack_words = Struct.pack, Struct.unpack
local WORD = 4294967296

local function unhex(text)
	return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- XORs data with a stream of 16 * words bytes a piece; format is Struct's for one piece, block(n) gives the stream's n-th piece.
local function xor_stream(data, format, size, block)
	local whole = data .. string.rep("\0", -#data % size)
	local out, n = {}, 0
	for at = 1, #whole, size do
		out[n + 1] = block(n, whole, at, format)
		n = n + 1
	end
	return table.concat(out):sub(1, #data)
end

---------------------------------------------------------------- AES-256 in counter mode, which is GCM without its tag (FIPS 197, SP 800-38D)

local SBOX, T0, T1, T2, T3 = {}, {}, {}, {}, {}

local function double(x)                -- in GF(2^8)
	return x < 128 and 2 * x or bxor(2 * x, 0x11b)
end

local function aes_tables()
	-- powers and logarithms to the base of the generator 3 give inverses
	local power, log, x = {}, {}, 1
	for i = 0, 254 do
		power[i], log[x] = x, i
		x = bxor(x, double(x))
	end
	for value = 0, 255 do
		local inverse = value == 0 and 0 or power[(255 - log[value]) % 255]
		local s, turned = bxor(inverse, 0x63), inverse
		for _ = 1, 4 do
			turned = band(2 * turned, 255) + rshift(turned, 7)
			s = bxor(s, turned)
		end
		local two = double(s)
		local three = bxor(two, s)
		SBOX[value] = s
		T0[value] = ((two * 256 + s) * 256 + s) * 256 + three
		T1[value] = ((three * 256 + two) * 256 + s) * 256 + s
		T2[value] = ((s * 256 + three) * 256 + two) * 256 + s
		T3[value] = ((s * 256 + s) * 256 + three) * 256 + two
	end
end
aes_tables()

local function sub_word(w)
	return ((SBOX[rshift(w, 24)] * 256 + SBOX[band(rshift(w, 16), 255)]) * 256 + SBOX[band(rshift(w, 8), 255)]) * 256 + SBOX[band(w, 255)]
end

local function aes_schedule(key)
	local w, constant = { unpack_words(">I4I4I4I4I4I4I4I4", key) }, 1
	w[9] = nil                          -- unpack also says where it ended
	for i = 9, 60 do
		local word = w[i - 1]
		if i % 8 == 1 then
			word = bxor(sub_word(lrotate(word, 8)), constant * 16777216)
			constant = double(constant)
		elseif i % 8 == 5 then
			word = sub_word(word)
		end
		w[i] = bxor(w[i - 8], word)
	end
	return w
end

local function aes_block(w, a, b, c, d)
	a, b, c, d = bxor(a, w[1]), bxor(b, w[2]), bxor(c, w[3]), bxor(d, w[4])
	for i = 5, 53, 4 do
		a, b, c, d =
			bxor(T0[rshift(a, 24)], T1[band(rshift(b, 16), 255)], T2[band(rshift(c, 8), 255)], T3[band(d, 255)], w[i]),
			bxor(T0[rshift(b, 24)], T1[band(rshift(c, 16), 255)], T2[band(rshift(d, 8), 255)], T3[band(a, 255)], w[i + 1]),
			bxor(T0[rshift(c, 24)], T1[band(rshift(d, 16), 255)], T2[band(rshift(a, 8), 255)], T3[band(b, 255)], w[i + 2]),
			bxor(T0[rshift(d, 24)], T1[band(rshift(a, 16), 255)], T2[band(rshift(b, 8), 255)], T3[band(c, 255)], w[i + 3])
	end
	local function last(p, q, r, s, word)
		return bxor(((SBOX[rshift(p, 24)] * 256 + SBOX[band(rshift(q, 16), 255)]) * 256 + SBOX[band(rshift(r, 8), 255)]) * 256 + SBOX[band(s, 255)], word)
	end
	return last(a, b, c, d, w[57]), last(b, c, d, a, w[58]), last(c, d, a, b, w[59]), last(d, a, b, c, w[60])
end

local function aes256gcm(key, nonce, data)
	key.schedule = key.schedule or aes_schedule(key.bytes)
	local w, n0, n1, n2 = key.schedule, unpack_words(">I4I4I4", nonce)
	-- counter 1 is the tag's
	return xor_stream(data, ">I4I4I4I4", 16, function(n, whole, at, format)
		local a, b, c, d = aes_block(w, n0, n1, n2, n + 2)
		local p, q, r, s = unpack_words(format, whole, at)
		return pack(format, bxor(a, p), bxor(b, q), bxor(c, r), bxor(d, s))
	end)
end

---------------------------------------------------------------- ChaCha20 (RFC 8439)

local function quarter(x, a, b, c, d)
	local p, q, r, s = x[a], x[b], x[c], x[d]
	p = (p + q) % WORD; s = lrotate(bxor(s, p), 16)
	r = (r + s) % WORD; q = lrotate(bxor(q, r), 12)
	p = (p + q) % WORD; s = lrotate(bxor(s, p), 8)
	r = (r + s) % WORD; q = lrotate(bxor(q, r), 7)
	x[a], x[b], x[c], x[d] = p, q, r, s
end

local CHACHA_FORMAT = "<" .. string.rep("I4", 16)

local function chacha20(key, nonce, data)
	local start = { unpack_words(CHACHA_FORMAT, "expand 32-byte k" .. key.bytes .. "\0\0\0\0" .. nonce) }
	-- counter 0 is the tag's
	return xor_stream(data, CHACHA_FORMAT, 64, function(n, whole, at, format)
		start[13] = n + 1
		local x = {}
		for i = 1, 16 do x[i] = start[i] end
		for _ = 1, 10 do
			quarter(x, 1, 5, 9, 13); quarter(x, 2, 6, 10, 14); quarter(x, 3, 7, 11, 15); quarter(x, 4, 8, 12, 16)
			quarter(x, 1, 6, 11, 16); quarter(x, 2, 7, 12, 13); quarter(x, 3, 8, 9, 14); quarter(x, 4, 5, 10, 15)
		end
		local piece = { unpack_words(format, whole, at) }
		for i = 1, 16 do x[i] = bxor((x[i] + start[i]) % WORD, piece[i]) end
		return pack(format, (table.unpack or unpack)(x, 1, 16))
	end)
end

local CIPHERS = { aes256gcm = aes256gcm, chacha20poly1305 = chacha20 }

-- P2: the number over the last eight bytes of the iv
local function make_nonce(iv, number)
	local a, b, c = unpack_words(">I4I4I4", iv)
	return pack(">I4I4I4", a, bxor(b, math.floor(number / WORD)), bxor(c, number % WORD))
end

---------------------------------------------------------------- what is known of the capture

local keylog = { path = "", offset = 0 }
local directions        -- by connection id, 8 raw bytes: of the session's half whose datagrams bear it
local opened            -- by "frame:segment": what was decrypted there

local function new_direction(session, name)
	return { session = session, name = name, keys = {}, messages = {}, done = {}, expect = 0 }
end

local function session_of(responder, initiator, cipher)
	local to = directions[responder]
	if to then
		return to.session
	end
	local session = { cipher = cipher, calls = {} }
	session.to_responder = new_direction(session, "initiator to responder")
	session.to_initiator = new_direction(session, "responder to initiator")
	directions[responder], directions[initiator] = session.to_responder, session.to_initiator
	return session
end

local function keylog_line(line)        -- K4
	local responder, key1, key2, iv1, iv2, initiator, cipher, gen1, gen2 =
		line:match("^MAGMA_TRAFFIC (%x+) (%x+) (%x+) (%x+) (%x+) (%x+) (%w+) (%d+) (%d+)%s*$")
	if not responder or #responder ~= 16 or #initiator ~= 16 or #key1 ~= 64 or #key2 ~= 64 or #iv1 ~= 24 or #iv2 ~= 24 or not CIPHERS[cipher] then
		return
	end
	local session = session_of(unhex(responder), unhex(initiator), cipher)
	local function learn(direction, generation, key, iv)
		direction.keys[generation] = direction.keys[generation] or { bytes = unhex(key), iv = unhex(iv) }
	end
	learn(session.to_responder, tonumber(gen1), key1, iv1)
	learn(session.to_initiator, tonumber(gen2), key2, iv2)
end

-- Reads what was appended since; TRUE: there was something.
local function keylog_read()
	local file = keylog.path ~= "" and io.open(keylog.path, "rb")
	if not file then
		return false
	end
	if file:seek("end") < keylog.offset then
		keylog.offset = 0           -- another file by that name
	end
	file:seek("set", keylog.offset)
	local text = file:read("*a") or ""
	file:close()
	local whole = text:match("^.*\n")   -- a line that is being written waits
	if not whole then
		return false
	end
	keylog.offset = keylog.offset + #whole
	for line in whole:gmatch("[^\n]+") do keylog_line(line) end
	return true
end

local function forget_capture()
	directions, opened = {}, {}
	keylog.offset = 0
	keylog_read()
end

---------------------------------------------------------------- frames

local VARINT_SIZES = { [0] = 1, 2, 4, 8 }

local function varint(s, i)             -- value, next place; nil: cut short
	local first = s:byte(i)
	if not first then
		return nil
	end
	local n = VARINT_SIZES[rshift(first, 6)]
	if i + n - 1 > #s then
		return nil
	end
	local value = band(first, 63)
	for k = i + 1, i + n - 1 do value = value * 256 + s:byte(k) end
	return value, i + n
end

local function varints(s, i, count)     -- a list of them, next place
	local list = {}
	for k = 1, count do
		list[k], i = varint(s, i)
		if not i then
			return nil
		end
	end
	return list, i
end

local PARSE = {}
PARSE[PAD] = function(s, i) return {}, #s + 1 end
PARSE[PING] = function(s, i) return {}, i end

PARSE[ACK] = function(s, i)
	local head, at = varints(s, i, 4)
	if not head or head[3] < 1 or head[3] > 64 or head[4] > head[1] then
		return nil
	end
	local rest, ends = varints(s, at, 2 * (head[3] - 1))
	if not rest then
		return nil
	end
	local high, low = head[1], head[1] - head[4]
	local ranges = { low == high and ("%d"):format(high) or ("%d-%d"):format(low, high) }
	for k = 1, #rest, 2 do
		high = low - rest[k] - 2
		low = high - rest[k + 1]
		if low < 0 then
			return nil
		end
		ranges[#ranges + 1] = low == high and ("%d"):format(high) or ("%d-%d"):format(low, high)
	end
	return { largest = head[1], delay = head[2], ranges = table.concat(ranges, " ") }, ends
end

PARSE[MSG] = function(s, i)
	local head, at = varints(s, i, 4)
	if not head or head[2] > MESSAGE_MAX or head[4] > head[2] or head[3] > head[2] - head[4] or (head[4] == 0 and head[2] > 0) then
		return nil
	end
	if head[4] > #s - at + 1 then
		return nil
	end
	return { id = head[1], total = head[2], offset = head[3], length = head[4], data_at = at }, at + head[4]
end

PARSE[CLOSE] = function(s, i)
	local why, at = varint(s, i)
	if not why or why > 1 then
		return nil
	end
	return { why = why }, at
end

PARSE[CHALLENGE] = function(s, i)
	if #s - i + 1 < 8 then
		return nil
	end
	return {}, i + 8
end
PARSE[RESPONSE] = PARSE[CHALLENGE]

-- The frames of a datagram; nil: these are not frames. cut: the capture has only its beginning.
local function parse_frames(s, cut)
	local frames, i = {}, 1
	while i <= #s do
		local parse = PARSE[s:byte(i)]
		if not parse then
			return nil
		end
		local frame, ends = parse(s, i + 1)
		if not frame then
			return cut and frames or nil
		end
		frame.type, frame.at, frame.size = s:byte(i), i - 1, ends - i
		frames[#frames + 1] = frame
		i = ends
	end
	return frames
end

---------------------------------------------------------------- opening a datagram

-- P1: the number nearest to the one expected
local function expand(direction, low)
	local candidate = direction.expect - direction.expect % WORD + low
	if candidate + WORD / 2 <= direction.expect then
		return candidate + WORD
	end
	if candidate > direction.expect + WORD / 2 and candidate >= WORD then
		return candidate - WORD
	end
	return candidate
end

-- K3: generations of the right phase, the likeliest first
local function generations(direction, phase, number)
	local now = direction.generation
	local list = {}
	for generation in pairs(direction.keys) do
		if generation % 2 == phase then list[#list + 1] = generation end
	end
	local function rank(generation)
		if not now then
			return generation
		end
		local ahead = generation - now
		if ahead == 0 then return 0 end
		if ahead == 1 then return number < direction.first and 2 or 1 end
		if ahead == -1 then return number < direction.first and 1 or 2 end
		return 2 + math.abs(ahead)
	end
	table.sort(list, function(a, b)
		local x, y = rank(a), rank(b)
		if x == y then return a < b end
		return x < y
	end)
	return list
end

local function open_with_known(direction, phase, number, sealed, cut)
	for _, generation in ipairs(generations(direction, phase, number)) do
		local key = direction.keys[generation]
		local plain = CIPHERS[direction.session.cipher](key, make_nonce(key.iv, number), sealed)
		local frames = parse_frames(plain, cut)
		if frames then
			if not direction.generation or generation > direction.generation then
				direction.generation, direction.first = generation, number
			end
			direction.expect = math.max(direction.expect, number + 1)
			return { number = number, generation = generation, plain = plain, frames = frames }
		end
	end
end

---------------------------------------------------------------- messages from pieces

-- The whole message, or nil while something is missing.
local function assemble(message)
	local offsets = {}
	for offset in pairs(message.pieces) do offsets[#offsets + 1] = offset end
	table.sort(offsets)
	local parts, have = {}, 0
	for _, offset in ipairs(offsets) do
		local piece = message.pieces[offset]
		if offset > have then
			return nil
		end
		if offset + #piece > have then
			parts[#parts + 1] = piece:sub(have - offset + 1)
			have = offset + #piece
		end
	end
	return have == message.total and table.concat(parts) or nil
end

local function match_call(session, message)
	local data = message.data
	local kind = data:byte(2)
	if #data < HEADER[PUSH] or kind > PUSH then
		return
	end
	local call = data:sub(9, 24)        -- transaction and client id
	if kind == REQUEST then
		session.calls[call] = message
	elseif session.calls[call] then
		local request = session.calls[call]
		message.request, request.reply = request, message
	end
end

local function add_piece(direction, frame, plain, number, time)
	local message = direction.messages[frame.id]
	if not message then
		message = { total = frame.total, pieces = {}, sum = 0, id = frame.id }
		direction.messages[frame.id] = message
	end
	frame.message = message
	if message.data or message.total ~= frame.total then
		frame.again = message.data ~= nil
		return
	end
	local old = message.pieces[frame.offset]
	if old and #old >= frame.length then
		frame.again = true
		return
	end
	message.pieces[frame.offset] = plain:sub(frame.data_at, frame.data_at + frame.length - 1)
	message.sum = message.sum + frame.length - (old and #old or 0)
	local data = message.sum >= message.total and assemble(message)
	if data then
		message.data, message.pieces = data, nil
		message.frame, message.time = number, time
		frame.whole = true
		match_call(direction.session, message)
	end
end

-- What is in that datagram, from memory when the frame was seen before. nil and why.
local function open_datagram(d, number, time)
	local raw, cut, at = d.raw, d.cut, number .. ":" .. d.index
	if opened[at] then
		return opened[at]
	end
	local id = raw:sub(2, 9)
	if not directions[id] then
		keylog_read()
	end
	local direction = directions[id]
	if not direction then
		return nil, "no key of this session in the key log"
	end
	local sealed = raw:sub(DATA_HEADER + 1, d.sealed_end)
	local phase, full = raw:byte(1) % 2, expand(direction, (unpack_words(">I4", raw, 10)))
	local it = open_with_known(direction, phase, full, sealed, cut)
	if not it and keylog_read() then
		it = open_with_known(direction, phase, full, sealed, cut)
	end
	if not it then
		return nil, "opens under no key of this session in the key log: damaged, forged, or the key changed"
	end
	it.direction = direction
	for _, frame in ipairs(it.frames) do
		if frame.type == MSG then add_piece(direction, frame, it.plain, number, time) end
	end
	opened[at] = it
	return it
end

---------------------------------------------------------------- fields

local flare = Proto("magma", "Magma flare protocol")
local node = Proto("magma_node", "Magma node protocol")
local F = {}

local function field(make, abbr, ...)
	F[abbr] = ProtoField[make]("magma." .. abbr, ...)
	return F[abbr]
end

field("uint8", "type", "Datagram", base.HEX, DATAGRAMS)
field("bytes", "cid", "Connection id")
field("uint8", "version", "Version", base.DEC)
field("bytes", "ephemeral", "Ephemeral public key")
field("bytes", "handshake", "Sealed payload and tag")
field("bytes", "echo", "Echo of the HELLO")
field("bytes", "cookie", "Cookie")
field("uint32", "number.low", "Packet number, low half", base.DEC)
field("uint64", "number", "Packet number", base.DEC)
field("uint32", "generation", "Key generation", base.DEC)
field("string", "direction", "Direction")
field("bytes", "sealed", "Sealed frames")
field("bytes", "tag", "Tag")
field("string", "unopened", "Encrypted")
field("uint8", "frame", "Frame", base.HEX, FRAMES)
field("uint64", "ack.largest", "Highest number", base.DEC)
field("uint64", "ack.delay", "Delay (us)", base.DEC)
field("string", "ack.ranges", "Numbers")
field("uint64", "piece.id", "Message id", base.DEC)
field("uint32", "piece.total", "Total", base.DEC)
field("uint32", "piece.offset", "Offset", base.DEC)
field("uint32", "piece.length", "Length", base.DEC)
field("bytes", "piece.data", "Piece")
field("framenum", "piece.whole_in", "Message is whole in frame")
field("bool", "piece.again", "Sent again")
field("uint8", "close", "Reason", base.DEC, CLOSES)

field("uint8", "msg.version", "Version", base.DEC)
field("uint8", "msg.kind", "Kind", base.DEC, KINDS)
field("uint8", "msg.op", "Operation", base.DEC, OP_NAMES)
field("uint8", "msg.hops", "Hops left", base.DEC)
field("uint32", "msg.flags", "Flags", base.HEX)
field("bool", "msg.flags.refresh", "REFRESH_TOPOLOGY", 32, nil, 1)
field("bool", "msg.flags.retry", "RETRY", 32, nil, 2)
field("bool", "msg.flags.forwarded", "FORWARDED", 32, nil, 4)
field("uint64", "msg.xid", "Transaction id", base.DEC)
field("uint64", "msg.client", "Client id", base.HEX)
field("uint64", "msg.epoch", "Map epoch", base.DEC)
field("uint64", "msg.watermark", "Watermark", base.DEC)
field("uint32", "msg.uid", "User", base.DEC)
field("uint32", "msg.gid", "Group", base.DEC)
field("uint16", "msg.umask", "Umask", base.OCT)
field("uint16", "msg.groups", "Supplementary groups", base.DEC)
field("uint32", "msg.group", "Supplementary group", base.DEC)
field("uint32", "msg.error", "Error", base.DEC, ERRORS)
field("framenum", "msg.reply_in", "Reply in frame", base.NONE, frametype.RESPONSE)
field("framenum", "msg.request_in", "Request in frame", base.NONE, frametype.REQUEST)
field("relative_time", "msg.time", "Time since the request")

-- Parts of composed types and of the elements of lists
field("none", "element", "fid")
field("bytes", "element.key", "key")
field("uint64", "element.ino", "ino", base.DEC)
field("uint32", "element.error", "error", base.DEC, ERRORS)
field("uint64", "element.cookie", "cookie", base.DEC)
field("uint32", "element.type", "type", base.OCT)
field("string", "element.name", "name")
field("uint64", "element.client", "client", base.HEX)
field("uint64", "element.op_hi", "op_hi", base.HEX)
field("uint64", "element.op_lo", "op_lo", base.HEX)
field("uint8", "element.kind", "kind", base.DEC, MARKS)
field("string", "address", "Address")
field("uint32", "attr.mode", "mode", base.OCT)
for _, name in ipairs({ "nlink", "uid", "gid" }) do field("uint32", "attr." .. name, name, base.DEC) end
for _, name in ipairs({ "rdev", "size", "blocks" }) do field("uint64", "attr." .. name, name, base.DEC) end
for _, name in ipairs({ "atime", "mtime", "ctime", "btime" }) do field("absolute_time", "attr." .. name, name, base.UTC) end
field("uint32", "attr.flags", "flags", base.HEX)
for _, name in ipairs({ "format", "state", "flags", "copies", "in_sync" }) do field("uint8", "map." .. name, name, base.DEC) end
for _, name in ipairs({ "copies_wanted", "copies_kept", "coordinator", "next_id", "from", "to", "volcanos", "slices", "id", "home", "owner", "copy", "part" }) do field("uint16", "map." .. name, name, base.DEC) end
for _, name in ipairs({ "incarnation", "bandwidth" }) do field("uint32", "map." .. name, name, base.DEC) end
for _, name in ipairs({ "epoch", "move", "offered" }) do field("uint64", "map." .. name, name, base.DEC) end
for _, name in ipairs({ "network", "first", "last" }) do field("bytes", "map." .. name, name) end
for _, name in ipairs({ "name", "fqdn" }) do field("string", "map." .. name, name) end

-- Fields of operations share a filter name where they share name and kind: magma.name is every name.
local SHAPE = {
	u8 = "integer", u16 = "integer", u32 = "integer", u64 = "integer", i64 = "signed", key = "bytes", fid = "none", ts = "time", attr = "none",
	name = "string", path = "string", text = "string", blob = "bytes", data = "bytes",
}
local BASES = { flags = base.HEX, mask = base.HEX, op_hi = base.HEX, op_lo = base.HEX, token = base.HEX, boot = base.HEX, mode = base.OCT, type = base.OCT }

local OUTCOMES = { [0] = "abort", [1] = "commit", [2] = "final", [3] = "pending" }
local VALUES = { outcome = OUTCOMES, kind = MARKS }

local operation_fields = {}             -- by name and shape

local function operation_field(type, name)
	local shape = assert(SHAPE[type], type)
	local index = name .. " " .. shape
	if operation_fields[index] then
		return
	end
	-- The names of the session's own fields are taken.
	local abbr = F[name] and name .. "_" .. shape or name
	if shape == "integer" then
		field("uint64", abbr, name, BASES[name] or base.DEC, VALUES[name])
	elseif shape == "signed" then
		field("int64", abbr, name, base.DEC)
	elseif shape == "time" then
		field("absolute_time", abbr, name, base.UTC)
	else
		field(shape, abbr, name)
	end
	if type == "fid" then
		field("bytes", abbr .. ".key", "key")
		field("uint64", abbr .. ".ino", "ino", base.DEC)
	end
	operation_fields[index] = abbr
end

for number = 0, 255 do                  -- in order, so that names come out the same each time
	local op = OPERATIONS[number]
	if op then
		for _, f in ipairs(op.request) do operation_field(f[1], f[2]) end
		for _, f in ipairs(op.reply) do operation_field(f[1], f[2]) end
	end
end

local all_fields = {}
for _, f in pairs(F) do all_fields[#all_fields + 1] = f end
flare.fields = all_fields

local E = {
	malformed = ProtoExpert.new("magma.malformed", "Not a message of this version", expert.group.MALFORMED, expert.severity.ERROR),
	list = ProtoExpert.new("magma.bad_list", "Ends within an element", expert.group.MALFORMED, expert.severity.WARN),
	unopened = ProtoExpert.new("magma.not_opened", "The datagram does not open", expert.group.DECRYPTION, expert.severity.NOTE),
	failed = ProtoExpert.new("magma.failed", "The reply is an error", expert.group.RESPONSE_CODE, expert.severity.NOTE),
	broken = ProtoExpert.new("magma.broken", "The peer broke the protocol", expert.group.PROTOCOL, expert.severity.WARN),
}
flare.experts = { E.malformed, E.list, E.unopened, E.failed, E.broken }

---------------------------------------------------------------- reading fields

local CUT = {}                          -- what take() raises: the message ends within a field

local function cursor(tvb, at, ends)
	return { tvb = tvb, at = at or 0, ends = ends or tvb:len() }
end

local function take(c, n)
	if n > c.ends - c.at then
		error(CUT)
	end
	local range = n > 0 and c.tvb:range(c.at, n) or nil
	c.at = c.at + n
	return range
end

-- An integer of n bytes; returns the number, exact up to 2^53.
local function add_integer(c, tree, abbr, n)
	local range = take(c, n)
	local item = tree:add(F[abbr], range)
	if n == 8 then
		return range:uint64():tonumber(), item, tostring(range:uint64())
	end
	return range:uint(), item, tostring(range:uint())
end

local function add_bytes(c, tree, abbr, n)
	local range = take(c, n)
	if range then
		return tree:add(F[abbr], range), range
	end
	return tree:add(F[abbr], ""), nil
end

-- Printable ASCII as it is, the rest as \ooo: a name must not speak to a terminal.
local function printable(s)
	if #s > 60 then s = s:sub(1, 60) .. "..." end
	return (s:gsub("[^%g]", function(c) return ("\\%03o"):format(c:byte()) end))
end

local function add_string(c, tree, abbr, n)
	local range = take(c, n)
	if not range then
		tree:add(F[abbr], "")
		return ""
	end
	tree:add_packet_field(F[abbr], range, ENC_UTF_8)
	return printable(range:raw())
end

local function add_time(c, tree, abbr)
	local range = take(c, 12)
	local seconds, nanoseconds = range:range(0, 8):int64():tonumber(), range:range(8, 4):uint()
	tree:add(F[abbr], range, NSTime.new(seconds, nanoseconds))
end

local function add_fid(c, tree, abbr)
	local at = c.at
	local range = take(c, 28)
	local item = tree:add(F[abbr], range)
	local inner = cursor(c.tvb, at, at + 28)
	local parts = abbr == "attr" and "element" or abbr
	local _, key = add_bytes(inner, item, parts .. ".key", 20)
	local _, _, ino = add_integer(inner, item, parts .. ".ino", 8)
	local text = key:bytes():tohex():lower():sub(1, 8) .. "...:" .. ino
	item:append_text(": " .. text)
	return text
end

local function add_attr(c, tree, abbr)
	local at = c.at
	local item = tree:add(F[abbr], take(c, 28 + 16 + 24 + 48 + 4))
	local inner = cursor(c.tvb, at, c.at)
	local fid = add_fid(inner, item, "element")
	for _, name in ipairs({ "mode", "nlink", "uid", "gid" }) do add_integer(inner, item, "attr." .. name, 4) end
	for _, name in ipairs({ "rdev", "size", "blocks" }) do add_integer(inner, item, "attr." .. name, 8) end
	for _, name in ipairs({ "atime", "mtime", "ctime", "btime" }) do add_time(inner, item, "attr." .. name) end
	add_integer(inner, item, "attr.flags", 4)
	local mode, size = c.tvb:range(at + 28, 4):uint(), tostring(c.tvb:range(at + 52, 8):uint64())
	item:append_text((": %s mode %o, size %s"):format(fid, mode, size))
end

local function add_address(c, tree)
	local at = c.at
	local family = take(c, 1):uint()
	if family == 0 then
		tree:add(F["address"], c.tvb:range(at, 1), "none")
	elseif family == 4 then
		local ip, port = take(c, 4), take(c, 2)
		tree:add(F["address"], c.tvb:range(at, 7), ("%s:%d"):format(tostring(ip:ipv4()), port:uint()))
	elseif family == 6 then
		local ip, scope, port = take(c, 16), take(c, 4), take(c, 2)
		local text = scope:uint() == 0 and "[%s]:%d" or "[%s%%" .. scope:uint() .. "]:%d"
		tree:add(F["address"], c.tvb:range(at, 23), text:format(tostring(ip:ipv6()), port:uint()))
	else
		error(CUT)
	end
end

-- An element of a list, as long as what add(c, item) reads; add returns what to call it.
local function add_element(c, tree, add)
	local at = c.at
	if at == c.ends then
		error(CUT)
	end
	local item = tree:add(F["element"], c.tvb:range(at, 1))
	item:set_text(add(c, item))
	item:set_len(c.at - at)
end

local function add_volcano(c, item)
	add_integer(c, item, "map.id", 2)
	add_integer(c, item, "map.state", 1)
	add_integer(c, item, "map.flags", 1)
	local name = add_string(c, item, "map.name", take(c, 1):uint())
	add_string(c, item, "map.fqdn", take(c, 1):uint())
	add_address(c, item)
	add_integer(c, item, "map.bandwidth", 4)
	add_integer(c, item, "map.offered", 8)
	return "volcano " .. name
end

local function add_copies(c, item)
	for _ = 1, (add_integer(c, item, "map.copies", 1)) do
		add_integer(c, item, "map.copy", 2)
		add_integer(c, item, "map.in_sync", 1)
	end
end

local function add_slice(c, item)
	local id = add_integer(c, item, "map.id", 2)
	add_bytes(c, item, "map.first", 20)
	add_bytes(c, item, "map.last", 20)
	add_integer(c, item, "map.home", 2)
	add_integer(c, item, "map.owner", 2)
	add_integer(c, item, "map.epoch", 8)
	add_copies(c, item)
	return "slice " .. id
end

local function add_map(c, tree)
	if c.at == c.ends then
		return
	end
	add_integer(c, tree, "map.format", 1)
	add_integer(c, tree, "map.incarnation", 4)
	add_integer(c, tree, "map.epoch", 8)
	add_bytes(c, tree, "map.network", 16)
	for _, name in ipairs({ "copies_wanted", "copies_kept", "coordinator", "next_id" }) do add_integer(c, tree, "map." .. name, 2) end
	if add_integer(c, tree, "map.move", 8) ~= 0 then
		add_integer(c, tree, "map.from", 2)
		add_integer(c, tree, "map.to", 2)
		add_bytes(c, tree, "map.first", 20)
		add_bytes(c, tree, "map.last", 20)
		add_integer(c, tree, "map.part", 2)
		add_copies(c, tree)
	end
	for _ = 1, (add_integer(c, tree, "map.volcanos", 2)) do add_element(c, tree, add_volcano) end
	for _ = 1, (add_integer(c, tree, "map.slices", 2)) do add_element(c, tree, add_slice) end
end

local function list_of(add)
	return function(c, tree)
		while c.at < c.ends do add(c, tree) end
	end
end

local function add_dirent(c, item)
	add_integer(c, item, "element.cookie", 8)
	add_fid(c, item, "element")
	add_integer(c, item, "element.type", 4)
	return "entry " .. add_string(c, item, "element.name", take(c, 2):uint())
end

local function add_error_attr(c, tree)
	if add_integer(c, tree, "element.error", 4) == 0 then
		add_attr(c, tree, "attr")
	end
end

local function add_mark(c, item)
	local at = c.at
	add_integer(c, item, "element.op_hi", 8)
	add_integer(c, item, "element.op_lo", 8)
	add_fid(c, item, "element")
	add_integer(c, item, "element.kind", 1)
	return "mark of operation " .. c.tvb:range(at, 16):bytes():tohex():lower()
end

local function add_open(c, tree)
	add_integer(c, tree, "element.client", 8)
	add_fid(c, tree, "element")
end

local function add_nul_name(c, tree)
	local rest = c.tvb:range(c.at, c.ends - c.at):raw()
	local n = (rest:find("\0", 1, true) or #rest + 1) - 1
	add_string(c, tree, "element.name", n)
	take(c, math.min(1, c.ends - c.at))
end

local add_fids = list_of(function(c, tree) add_fid(c, tree, "element") end)

-- What is inside of blob and data, by operation and field; a map is a map everywhere.
local LISTS = {
	["reopen fids"] = add_fids,
	["mirror_sync fids"] = add_fids,
	["reopen errors"] = list_of(function(c, tree) add_integer(c, tree, "element.error", 4) end),
	["peek attrs"] = list_of(function(c, tree) add_attr(c, tree, "attr") end),
	["readdir entries"] = list_of(function(c, tree) add_element(c, tree, add_dirent) end),
	["getattrs fids"] = add_fids,
	["getattrs attrs"] = list_of(add_error_attr),
	["listxattr names"] = list_of(add_nul_name),
	["join addr"] = add_address,
	["settle marks"] = list_of(function(c, tree) add_element(c, tree, add_mark) end),
	["move_opens opens"] = list_of(add_open),
}

-- Adds the list inside the last n bytes read. What does not fit is shown as bytes only.
local function add_list(c, item, add, n)
	local ok, why = pcall(add, cursor(c.tvb, c.at - n, c.at), item)
	if not ok then
		if why ~= CUT then
			error(why, 0)
		end
		item:add_proto_expert_info(E.list)
	end
end

local READ = {}                         -- by type: (cursor, tree, abbr, operation, name) -> text for the summary
for type, n in pairs({ u8 = 1, u16 = 2, u32 = 4, u64 = 8 }) do
	READ[type] = function(c, tree, abbr)
		local _, _, text = add_integer(c, tree, abbr, n)
		return text
	end
end
READ.i64 = function(c, tree, abbr) tree:add(F[abbr], take(c, 8)) end
READ.key = function(c, tree, abbr) add_bytes(c, tree, abbr, 20) end
READ.fid = add_fid
READ.ts = add_time
READ.attr = add_attr
for _, type in ipairs({ "name", "path", "text" }) do
	READ[type] = function(c, tree, abbr) return add_string(c, tree, abbr, take(c, 2):uint()) end
end
for _, type in ipairs({ "blob", "data" }) do
	READ[type] = function(c, tree, abbr, op, name)
		local n = take(c, 4):uint()
		local item = add_bytes(c, tree, abbr, n)
		local list = name == "map" and add_map or LISTS[op .. " " .. name]
		if list and n > 0 then add_list(c, item, list, n) end
		return "[" .. n .. "]"
	end
end

---------------------------------------------------------------- messages

-- Names, and these integers, make a message's line; the rest is in the tree.
local IN_SUMMARY = { name = true, path = true, text = true, data = true }
local SHOWN = { offset = true, size = true, length = true, sequence = true, outcome = true }

local function add_fields(c, tree, op, fields)
	local text = ""
	for _, f in ipairs(fields) do
		local type, name = f[1], f[2]
		local value = READ[type](c, tree, operation_fields[name .. " " .. SHAPE[type]], op, name)
		if value and (IN_SUMMARY[type] or SHOWN[name]) then
			text = text .. " " .. name .. "=" .. value
		end
	end
	return text
end

local function add_request_header(c, tree)
	add_integer(c, tree, "msg.watermark", 8)
	add_integer(c, tree, "msg.uid", 4)
	add_integer(c, tree, "msg.gid", 4)
	add_integer(c, tree, "msg.umask", 2)
	local groups, item = add_integer(c, tree, "msg.groups", 2)
	if groups == NO_GROUPS then
		item:append_text(" (not sent)")
		return
	end
	for _ = 1, groups do add_integer(c, item, "msg.group", 4) end
end

local function add_message(c, tree)
	add_integer(c, tree, "msg.version", 1)
	local kind = add_integer(c, tree, "msg.kind", 1)
	local op = OPERATIONS[add_integer(c, tree, "msg.op", 1)]
	if not op or not KINDS[kind] then
		error(CUT)
	end
	local text = op.name .. (kind == REQUEST and "" or " " .. KINDS[kind])
	tree:append_text(": " .. text)
	add_integer(c, tree, "msg.hops", 1)
	local at = c.at
	local _, flags = add_integer(c, tree, "msg.flags", 4)
	for _, name in ipairs({ "refresh", "retry", "forwarded" }) do flags:add(F["msg.flags." .. name], c.tvb:range(at, 4)) end
	add_integer(c, tree, "msg.xid", 8)
	add_integer(c, tree, "msg.client", 8)
	add_integer(c, tree, "msg.epoch", 8)
	if kind == REQUEST then
		add_request_header(c, tree)
	elseif kind == REPLY then
		local code, item = add_integer(c, tree, "msg.error", 4)
		if code ~= 0 then
			text = text .. " error=" .. (ERRORS[code] or code)
			item:add_proto_expert_info(E.failed)
			return text
		end
	end
	return text .. add_fields(c, tree, op.name, kind == REPLY and op.reply or op.request)
end

local function add_generated(tree, abbr, value)
	tree:add(F[abbr], value):set_generated()
end

-- Returns the line for the Info column.
local function dissect_message(message, root)
	if #message.data == 0 then
		return "empty message"
	end
	local tvb = ByteArray.new(message.data, true):tvb("Message")
	local tree = root:add(tvb:range(), "Message")
	local c = cursor(tvb)
	local ok, text = pcall(add_message, c, tree)
	if not ok then
		if text ~= CUT then
			error(text, 0)
		end
		tree:add_proto_expert_info(E.malformed)
		return "malformed message"
	end
	if c.at < c.ends then
		tree:add_proto_expert_info(E.malformed, "Bytes left over behind the last field")
	end
	if message.reply then add_generated(tree, "msg.reply_in", message.reply.frame) end
	if message.request then
		add_generated(tree, "msg.request_in", message.request.frame)
		local seconds = message.time - message.request.time
		add_generated(tree, "msg.time", NSTime.new(math.floor(seconds), math.floor(seconds % 1 * 1e9 + 0.5)))
	end
	return text
end

---------------------------------------------------------------- frames and datagrams in the tree

local ADD = {}                          -- by type of frame: (frame, range, tree, lines)
ADD[PAD] = function() end
ADD[PING] = function(frame, range, tree, lines) lines[#lines + 1] = "PING" end

ADD[ACK] = function(frame, range, tree)
	tree:add(F["ack.largest"], range, UInt64(frame.largest % WORD, math.floor(frame.largest / WORD)))
	tree:add(F["ack.delay"], range, UInt64(frame.delay % WORD, math.floor(frame.delay / WORD)))
	tree:add(F["ack.ranges"], range, frame.ranges)
	tree:append_text(" " .. frame.ranges)
end

ADD[MSG] = function(frame, range, tree, lines, root)
	tree:add(F["piece.id"], range, UInt64(frame.id % WORD, math.floor(frame.id / WORD)))
	tree:add(F["piece.total"], range, frame.total)
	tree:add(F["piece.offset"], range, frame.offset)
	tree:add(F["piece.length"], range, frame.length)
	tree:append_text((" %d: %d bytes at %d of %d"):format(frame.id, frame.length, frame.offset, frame.total))
	if frame.length > 0 then
		tree:add(F["piece.data"], range:range(range:len() - frame.length, frame.length))
	end
	if frame.again then add_generated(tree, "piece.again", true) end
	local message = frame.message
	if frame.whole then
		lines[#lines + 1] = dissect_message(message, root)
	elseif message.data then
		add_generated(tree, "piece.whole_in", message.frame)
	end
end

ADD[CLOSE] = function(frame, range, tree, lines)
	local item = tree:add(F["close"], range, frame.why)
	if frame.why == 1 then item:add_proto_expert_info(E.broken) end
	lines[#lines + 1] = "CLOSE (" .. CLOSES[frame.why] .. ")"
end

ADD[CHALLENGE] = function() end
ADD[RESPONSE] = ADD[CHALLENGE]

local function add_frames(it, tree, root, lines)
	local before = #lines
	local tvb = ByteArray.new(it.plain, true):tvb("Frames")
	for _, frame in ipairs(it.frames) do
		local range = tvb:range(frame.at, frame.size)
		local item = tree:add(F["frame"], tvb:range(frame.at, 1))
		item:set_len(frame.size)
		ADD[frame.type](frame, range, item, lines, root)
	end
	if #lines == before then
		lines[#lines + 1] = FRAMES[it.frames[1] and it.frames[1].type or PAD]
	end
end

local function add_data(d, tree, root, lines, pinfo)
	tree:add(F["number.low"], d.range:range(9, 4))
	local it, why = open_datagram(d, pinfo.number, pinfo.rel_ts)
	tree:add(F["sealed"], d.range:range(DATA_HEADER, d.sealed_end - DATA_HEADER))
	if not d.cut then
		tree:add(F["tag"], d.range:range(d.sealed_end, TAG))
	end
	if not it then
		add_generated(tree, "unopened", why)
		tree:add_proto_expert_info(E.unopened, why)
		lines[#lines + 1] = "encrypted"
		return
	end
	tree:add(F["number"], UInt64(it.number % WORD, math.floor(it.number / WORD))):set_generated()
	add_generated(tree, "generation", it.generation)
	add_generated(tree, "direction", it.direction.name)
	add_frames(it, tree, root, lines)
end

-- More than the first 14 bytes may be missing in a capture that cuts.
local HANDSHAKE = {
	[HELLO] = { { "version", 9, 1 }, { "ephemeral", 10, 32 }, { "handshake", 42, 150 } },
	[WELCOME] = { { "ephemeral", 9, 32 }, { "handshake", 41, 48 } },
	[COOKIE] = { { "echo", 9, 16 }, { "cookie", 25, 16 } },
	[REJECT] = { { "echo", 9, 16 } },
}

local function add_datagram(d, proto, root, lines, pinfo)
	local type = d.raw:byte(1)
	local tree = root:add(proto, d.range)
	tree:append_text(", " .. DATAGRAMS[type])
	tree:add(F["type"], d.range:range(0, 1))
	tree:add(F["cid"], d.range:range(1, 8))
	if type >= DATA then
		add_data(d, tree, root, lines, pinfo)
		return
	end
	for _, part in ipairs(HANDSHAKE[type]) do
		if part[2] + part[3] <= #d.raw then
			tree:add(F[part[1]], d.range:range(part[2], part[3]))
		end
	end
	lines[#lines + 1] = DATAGRAMS[type]
end

-- A burst sent in one go (UDP_SEGMENT) is captured on its own host as one large datagram. Its pieces are of one size but for the last, and begin
-- with the same connection id and with consecutive numbers. Returns the size of a piece.
local function burst_size(raw)
	local id, first = raw:sub(2, 9), unpack_words(">I4", raw, 10)
	local at = raw:find(id, DATA_HEADER + TAG + 2, true)
	while at do
		local size = at - 2
		if at + 11 <= #raw and band(raw:byte(at - 1), 0xfe) == DATA and unpack_words(">I4", raw, at + 8) == (first + 1) % WORD then
			return size
		end
		at = raw:find(id, at + 1, true)
	end
	return #raw
end

-- FALSE: not of this protocol
local function plausible(tvb)
	local length = tvb:reported_len()
	if tvb:len() < DATA_HEADER + 1 then
		return false
	end
	local type = tvb:range(0, 1):uint()
	if band(type, 0xfe) == DATA then
		return length > DATA_HEADER + TAG
	end
	return LENGTHS[type] == length
end

local function dissect(proto, name, tvb, pinfo, root)
	if not plausible(tvb) then
		return 0
	end
	local raw, lines = tvb:range():raw(), {}
	local size = band(raw:byte(1), 0xfe) == DATA and burst_size(raw) or #raw
	local at, index = 0, 0
	while at < #raw do
		local n, rest = math.min(size, #raw - at), tvb:reported_len() - at
		local full = size < #raw and math.min(size, rest) or rest
		local d = { raw = raw:sub(at + 1, at + n), range = tvb:range(at, n), index = index, cut = n < full, sealed_end = math.min(n, full - TAG) }
		local data = band(d.raw:byte(1), 0xfe) == DATA
		if index > 0 and not data or data and d.sealed_end <= DATA_HEADER then
			break
		end
		add_datagram(d, proto, root, lines, pinfo)
		at, index = at + n, index + 1
	end
	pinfo.cols.protocol = name
	local text = table.concat(lines, "; ")
	pinfo.cols.info = #text > 200 and text:sub(1, 200) .. "..." or text
	return tvb:len()
end

---------------------------------------------------------------- registration

function flare.dissector(tvb, pinfo, root) return dissect(flare, "Magma", tvb, pinfo, root) end
function node.dissector(tvb, pinfo, root) return dissect(node, "Magma-node", tvb, pinfo, root) end

flare.prefs.keylog = Pref.string("Key log file", "", "What MAGMA_KEYLOG=FILE wrote: the keys of the sessions to be shown")
flare.prefs.flare_ports = Pref.range("Flare ports", "12000", "UDP ports of the flare protocol", 65535)
flare.prefs.node_ports = Pref.range("Node ports", "12001", "UDP ports of the node protocol", 65535)

local ports = DissectorTable.get("udp.port")
local registered = {}

local function register(proto, range)
	range = tostring(range)
	if registered[proto.name] == range then
		return
	end
	if registered[proto.name] and registered[proto.name] ~= "" then
		ports:remove(registered[proto.name], proto)
	end
	if range ~= "" then
		ports:add(range, proto)
	end
	registered[proto.name] = range
end

local function prefs_changed()
	register(flare, flare.prefs.flare_ports)
	register(node, flare.prefs.node_ports)
	if keylog.path ~= flare.prefs.keylog then
		keylog.path = flare.prefs.keylog
		forget_capture()
	end
end

flare.init = forget_capture
forget_capture()
ports:add_for_decode_as(flare)
ports:add_for_decode_as(node)
flare.prefs_changed = prefs_changed
prefs_changed()
