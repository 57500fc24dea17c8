/* SPDX-License-Identifier: BSD-2-Clause */
#include "community_id.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sha1.h>
#include <stdbool.h>
#include <string.h>

static bool is_v4(const uint8_t address[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(address, mapped, sizeof(mapped));
}

static void base64(const uint8_t digest[SHA1_DIGEST_LENGTH], char ret_text[29])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *at = ret_text;

	for (unsigned i = 0; i < SHA1_DIGEST_LENGTH; i += 3) {
		uint32_t three = digest[i] << 16 | digest[i + 1] << 8 | (i + 2 < SHA1_DIGEST_LENGTH ? digest[i + 2] : 0);

		for (int shift = 18; shift >= 0; shift -= 6)
			*at++ = digits[three >> shift & 63];
	}
	at[-1] = '=';	/* 20 bytes: the last group has two */
	*at = 0;
}

void community_id(const uint8_t source[16], uint16_t source_port, const uint8_t destination[16], uint16_t destination_port,
		  char ret_id[COMMUNITY_ID_LEN])
{
	unsigned skip = is_v4(source) && is_v4(destination) ? 12 : 0;
	int order = memcmp(source + skip, destination + skip, 16 - skip);
	bool turned = order > 0 || (!order && source_port > destination_port);
	uint16_t seed = 0, ports[2] = { htons(turned ? destination_port : source_port), htons(turned ? source_port : destination_port) };
	uint8_t protocol[2] = { IPPROTO_TCP, 0 }, digest[SHA1_DIGEST_LENGTH];
	SHA1_CTX context;

	SHA1Init(&context);
	SHA1Update(&context, (const uint8_t *)&seed, sizeof(seed));
	SHA1Update(&context, (turned ? destination : source) + skip, 16 - skip);
	SHA1Update(&context, (turned ? source : destination) + skip, 16 - skip);
	SHA1Update(&context, protocol, sizeof(protocol));
	SHA1Update(&context, (const uint8_t *)ports, sizeof(ports));
	SHA1Final(digest, &context);
	memcpy(ret_id, "1:", 2);
	base64(digest, ret_id + 2);
}
