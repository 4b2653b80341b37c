// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//
// Who owns the socket that a packet comes from, told by the kernel at the packet itself.
//
// In: each outbound packet of raw OUTPUT, as a match of iptables (`-m bpf --object-pinned`); it
// begins with its IP header. Out: a sighting in the map `inbox` for each socket that is new to a
// five-tuple, was given to another user since (fchown), or was last reported long ago. It never
// matches, so it never changes what happens to a packet.
//
// Only what Linux 4.14 offers is used: no loops, no BTF, no ring or perf buffer (a socket filter may
// write to these from 5.8 and 5.4 on). See docs/decisions/0120-owners-through-a-hash-map.md.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NETWORK_ORDER(n) __builtin_bswap16(n)

// linux/bpf.h: the head of `struct __sk_buff` is never read here, only handed to helpers.
struct packet;

// linux/bpf.h, enum bpf_func_id.
static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*const monotonic_nanos)(void) = (void *)5;
static long (*const load_bytes)(const struct packet *, u32 offset, void *to, u32 len) = (void *)26;
static u64 (*const socket_cookie)(const struct packet *) = (void *)46;
static u32 (*const socket_uid)(const struct packet *) = (void *)47;

// linux/bpf.h, enum bpf_map_type.
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_LRU_HASH = 9 };
// linux/bpf.h: flags of an update.
enum { UPDATE_ANY = 0, UPDATE_NEW_ONLY = 1 };
// linux/errno.h
enum { EEXIST = 17 };

// A map as loaders of objects without BTF expect it in the section `maps`.
struct map {
	u32 type, key_size, value_size, max_entries, flags;
};

enum {
	// Five-tuples whose last socket is remembered; one that is pushed out is only reported again.
	SEEN_MAX = 16384,
	// Sightings that wait for the daemon; what finds no room is counted.
	INBOX_MAX = 16384,
	// Headers between an IPv6 header and its transport that are walked over.
	EXTENSIONS_MAX = 6,
	// What the kernel gives for a socket without an owner (overflowuid).
	UID_NONE = 65534,
};
// A socket is reported again after this long, so that a flow that the daemon has meanwhile ended for
// idleness (20 minutes at least) gets its owner back.
#define REPORT_AGAIN_NANOS (300ULL * 1000 * 1000 * 1000)

enum { TCP = 6, UDP = 17 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4 };

// The handset's side first; IPv4 addresses as IPv4-mapped ones; all in network order.
struct tuple {
	u8 local[16];
	u8 remote[16];
	u16 local_port;
	u16 remote_port;
	u8 protocol;
	// 4 or 6.
	u8 version;
	u8 zero[2];
};

// A socket as it was reported for a five-tuple.
struct reported {
	u64 cookie;
	u64 at_nanos;
	u32 uid;
	u32 zero;
};

struct sighting_key {
	u64 cookie;
	u32 uid;
	u32 zero;
	struct tuple tuple;
};

struct sighting {
	// CLOCK_MONOTONIC.
	u64 at_nanos;
	// What tells the packet from others of its five-tuple: `opening` below.
	u64 opening;
};

struct counts {
	u64 reported;
	u64 no_room;
};

struct map SECTION("maps") seen = {
	.type = MAP_LRU_HASH,
	.key_size = sizeof(struct tuple),
	.value_size = sizeof(struct reported),
	.max_entries = SEEN_MAX,
};
struct map SECTION("maps") inbox = {
	.type = MAP_HASH,
	.key_size = sizeof(struct sighting_key),
	.value_size = sizeof(struct sighting),
	.max_entries = INBOX_MAX,
};
struct map SECTION("maps") counts = {
	.type = MAP_ARRAY,
	.key_size = sizeof(u32),
	.value_size = sizeof(struct counts),
	.max_entries = 1,
};

struct ipv4 {
	u8 version_and_words, tos;
	u16 total_len, id, fragment;
	u8 ttl, protocol;
	u16 checksum;
	u8 source[4], destination[4];
};

struct ipv6 {
	u32 flow;
	u16 payload_len;
	u8 next, hop_limit;
	u8 source[16], destination[16];
};

// Fills in addresses and protocol; gives where the transport header begins, 0 for none.
INLINE u32 read_ipv4(const struct packet *packet, struct tuple *tuple)
{
	struct ipv4 header;

	if (load_bytes(packet, 0, &header, sizeof(header)) < 0)
		return 0;
	// Only the first fragment has ports (RFC 791).
	if (header.fragment & NETWORK_ORDER(0x1fff))
		return 0;
	tuple->local[10] = tuple->local[11] = tuple->remote[10] = tuple->remote[11] = 0xff;
	__builtin_memcpy(tuple->local + 12, header.source, 4);
	__builtin_memcpy(tuple->remote + 12, header.destination, 4);
	tuple->protocol = header.protocol;
	return (header.version_and_words & 0x0f) * 4;
}

INLINE u32 read_ipv6(const struct packet *packet, struct tuple *tuple)
{
	struct ipv6 header;
	u32 at = sizeof(header);
	u8 next;

	if (load_bytes(packet, 0, &header, sizeof(header)) < 0)
		return 0;
	__builtin_memcpy(tuple->local, header.source, 16);
	__builtin_memcpy(tuple->remote, header.destination, 16);
	next = header.next;
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		// Next header, length in 8 bytes without the first 8; or of a fragment, its offset.
		struct {
			u8 next, words;
			u16 fragment;
		} extension;

		// Hop-by-hop options, routing, fragment, destination options (RFC 8200, section 4).
		if (next != 0 && next != 43 && next != 44 && next != 60)
			break;
		if (load_bytes(packet, at, &extension, sizeof(extension)) < 0)
			return 0;
		if (next == 44) {
			if (extension.fragment & NETWORK_ORDER(0xfff8))
				return 0;
			at += 8;
		} else {
			at += (extension.words + 1) * 8;
		}
		next = extension.next;
	}
	tuple->protocol = next;
	return at;
}

struct tcp {
	u16 source, destination;
	u32 sequence, acknowledged;
	u8 words, flags;
	u16 window;
};

struct udp {
	u16 source, destination, len, checksum;
};

// TCP: the sequence number. UDP: the length, and the first four bytes of the payload.
struct opening {
	u32 words[2];
};

// Fills in the ports and the opening; says whether the packet is one that a socket of some process
// sent. The kernel answers strays and connections that are over through sockets of its own, which
// belong to root: such packets (RST, or ACK without anything) tell nothing when their owner is root.
INLINE int read_tcp(const struct packet *packet, u32 at, u32 uid, struct tuple *tuple,
		    struct opening *opening)
{
	struct tcp header;
	u8 beyond;
	int carries_something;

	if (load_bytes(packet, at, &header, sizeof(header)) < 0)
		return 0;
	tuple->local_port = header.source;
	tuple->remote_port = header.destination;
	opening->words[0] = header.sequence;
	carries_something = (header.flags & (TCP_SYN | TCP_FIN)) ||
			    load_bytes(packet, at + (header.words >> 4) * 4, &beyond, 1) == 0;
	return uid != 0 || (carries_something && !(header.flags & TCP_RST));
}

INLINE int read_udp(const struct packet *packet, u32 at, struct tuple *tuple,
		    struct opening *opening)
{
	struct udp header;

	if (load_bytes(packet, at, &header, sizeof(header)) < 0)
		return 0;
	tuple->local_port = header.source;
	tuple->remote_port = header.destination;
	opening->words[0] = header.len;
	// A shorter payload leaves zeros.
	if (load_bytes(packet, at + sizeof(header), &opening->words[1], 4) < 0)
		opening->words[1] = 0;
	return 1;
}

INLINE void report(const struct tuple *tuple, u64 cookie, u32 uid, u64 now,
		   const struct opening *opening)
{
	struct sighting_key key = { .cookie = cookie, .uid = uid, .tuple = *tuple };
	struct reported reported = { .cookie = cookie, .at_nanos = now, .uid = uid };
	struct sighting sighting = { .at_nanos = now };
	u32 only = 0;
	struct counts *sums = map_lookup(&counts, &only);
	long result;

	__builtin_memcpy(&sighting.opening, opening, sizeof(sighting.opening));
	if (!sums)
		return;
	result = map_update(&inbox, &key, &sighting, UPDATE_NEW_ONLY);
	if (result == 0) {
		__sync_fetch_and_add(&sums->reported, 1);
	} else if (result != -EEXIST) {
		// Not remembered as reported: the socket's next packet tries again.
		__sync_fetch_and_add(&sums->no_room, 1);
		return;
	}
	map_update(&seen, tuple, &reported, UPDATE_ANY);
}

SECTION("socket") int sakshi_owner(const struct packet *packet)
{
	struct tuple tuple = {};
	struct opening opening = {};
	struct reported *last;
	u8 version;
	u32 at, uid;
	u64 cookie, now;

	if (load_bytes(packet, 0, &version, 1) < 0)
		return 0;
	tuple.version = version >> 4;
	at = tuple.version == 4 ? read_ipv4(packet, &tuple)
	   : tuple.version == 6 ? read_ipv6(packet, &tuple)
				: 0;
	if (at == 0)
		return 0;
	uid = socket_uid(packet);
	cookie = socket_cookie(packet);
	if (cookie == 0 || uid == UID_NONE)
		return 0;
	if (tuple.protocol == TCP) {
		if (!read_tcp(packet, at, uid, &tuple, &opening))
			return 0;
	} else if (tuple.protocol == UDP) {
		if (!read_udp(packet, at, &tuple, &opening))
			return 0;
	} else {
		return 0;
	}
	now = monotonic_nanos();
	last = map_lookup(&seen, &tuple);
	if (last && last->cookie == cookie && last->uid == uid &&
	    now - last->at_nanos < REPORT_AGAIN_NANOS)
		return 0;
	report(&tuple, cookie, uid, now, &opening);
	return 0;
}

// bpf_ktime_get_ns is for GPL-compatible programs only, before Linux 5.8.
char SECTION("license") licence[] = "GPL v2";
