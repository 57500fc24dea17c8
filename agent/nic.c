/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../schema/record.h"

#define READ_BYTES 65536

static int send_request(int fd)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static void read_link(const struct nlmsghdr *header, struct nic_link *ret_link)
{
	const struct ifinfomsg *info = NLMSG_DATA(header);
	int left = IFLA_PAYLOAD(header);

	*ret_link = (struct nic_link){ .index = info->ifi_index };
	for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == IFLA_IFNAME)
			strncpy(ret_link->name, RTA_DATA(at), sizeof(ret_link->name) - 1);
		else if (at->rta_type == IFLA_NUM_TX_QUEUES)
			memcpy(&ret_link->queues[DIRECTION_EGRESS], RTA_DATA(at), sizeof(uint32_t));
		else if (at->rta_type == IFLA_NUM_RX_QUEUES)
			memcpy(&ret_link->queues[DIRECTION_INGRESS], RTA_DATA(at), sizeof(uint32_t));
	}
}

/* 1: done, 0: more to come, or a negative errno. */
static int read_links(char *room, ssize_t got, struct nic_link **links, unsigned *n)
{
	uint32_t left = got;

	for (struct nlmsghdr *header = (void *)room; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		struct nic_link *more;

		if (header->nlmsg_type == NLMSG_DONE)
			return 1;
		if (header->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(header))->error ?: 1;
		if (header->nlmsg_type != RTM_NEWLINK)
			continue;
		more = realloc(*links, (*n + 1) * sizeof(**links));
		if (!more)
			return -ENOMEM;
		*links = more;
		read_link(header, &more[(*n)++]);
	}
	return 0;
}

static int by_index(const void *a, const void *b)
{
	const struct nic_link *left = a, *right = b;

	return left->index < right->index ? -1 : left->index > right->index;
}

int nic_list(struct nic_link **ret_links, unsigned *ret_n)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), err;
	char *room = malloc(READ_BYTES);
	struct nic_link *links = NULL;
	unsigned n = 0;

	err = fd < 0 ? -errno : room ? send_request(fd) : -ENOMEM;
	while (!err) {
		ssize_t got = recv(fd, room, READ_BYTES, 0);

		if (got < 0 && errno == EINTR)
			continue;
		err = got < 0 ? -errno : read_links(room, got, &links, &n);
	}
	if (fd >= 0)
		close(fd);
	free(room);
	if (err < 0) {
		free(links);
		return err;
	}
	if (n)
		qsort(links, n, sizeof(*links), by_index);
	*ret_links = links;
	*ret_n = n;
	return 0;
}

static bool ask_ethtool(const char *name, void *data)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_data = data };
	bool ok;

	if (fd < 0)
		return false;
	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	ok = !ioctl(fd, SIOCETHTOOL, &request);
	close(fd);
	return ok;
}

uint64_t nic_speed_bps(const char *name)
{
	union {
		struct ethtool_link_settings settings;
		char room[sizeof(struct ethtool_link_settings) + 3 * 127 * sizeof(uint32_t)];	/* with its masks */
	} ask = { .settings.cmd = ETHTOOL_GLINKSETTINGS };

	/* The first answer is only how many words its masks have, as a negative number. */
	if (!ask_ethtool(name, &ask) || ask.settings.link_mode_masks_nwords >= 0)
		return 0;
	ask.settings.link_mode_masks_nwords = -ask.settings.link_mode_masks_nwords;
	if (!ask_ethtool(name, &ask) || !ask.settings.speed || ask.settings.speed == (uint32_t)SPEED_UNKNOWN)
		return 0;
	return ask.settings.speed * 1000000ull;
}

void nic_channels(const char *name, uint32_t ret_queues[2])
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	if (!ask_ethtool(name, &channels))
		return;
	if (channels.tx_count + channels.combined_count)
		ret_queues[DIRECTION_EGRESS] = channels.tx_count + channels.combined_count;
	if (channels.rx_count + channels.combined_count)
		ret_queues[DIRECTION_INGRESS] = channels.rx_count + channels.combined_count;
}
