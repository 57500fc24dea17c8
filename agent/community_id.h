/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Community ID v1 of a TCP flow (github.com/corelight/community-id-spec), seed 0: the same text for both directions, from any tool that
 * knows it. Addresses as in nl_ip, ports in host order.
 */
#ifndef NETLINE_COMMUNITY_ID_H
#define NETLINE_COMMUNITY_ID_H

#include <stdint.h>

#define COMMUNITY_ID_LEN 31	/* "1:" and 28 characters of base64, and a NUL */

void community_id(const uint8_t source[16], uint16_t source_port, const uint8_t destination[16], uint16_t destination_port,
		  char ret_id[COMMUNITY_ID_LEN]);
#endif
