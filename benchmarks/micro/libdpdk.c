/* SPDX-License-Identifier: BSD-3-Clause
 * libdpdk's own figures for the loops of loops.py. Reads lines "loop count" on stdin; answers each with the TSC cycles
 * that one operation took. Started as `libdpdk EAL-options`.
 */
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#define BULK 32

static struct rte_ring *sp, *mp;
static struct rte_mempool *cached, *uncached, *mbufs;
static unsigned char bytes[2048] __rte_cache_aligned;
static volatile uint16_t sink;

static double ring_bulk(struct rte_ring *r, long n)
{
	void *objs[BULK] __rte_cache_aligned = {0};
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++) {
		rte_ring_enqueue_bulk(r, objs, BULK, NULL);
		rte_ring_dequeue_bulk(r, objs, BULK, NULL);
	}
	return (double)(rte_rdtsc() - t) / n / BULK;
}

static double ring_single(struct rte_ring *r, long n)
{
	void *obj = r;
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++) {
		rte_ring_enqueue(r, obj);
		rte_ring_dequeue(r, &obj);
	}
	return (double)(rte_rdtsc() - t) / n;
}

static double pool_bulk(struct rte_mempool *pool, long n)
{
	void *objs[BULK] __rte_cache_aligned;
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++) {
		if (rte_mempool_get_bulk(pool, objs, BULK) == 0)
			rte_mempool_put_bulk(pool, objs, BULK);
	}
	return (double)(rte_rdtsc() - t) / n / BULK;
}

static double mbuf_bulk(long n)
{
	struct rte_mbuf *burst[BULK] __rte_cache_aligned;
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++) {
		if (rte_pktmbuf_alloc_bulk(mbufs, burst, BULK) == 0)
			rte_pktmbuf_free_bulk(burst, BULK);
	}
	return (double)(rte_rdtsc() - t) / n / BULK;
}

static double mbuf_single(long n)
{
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++)
		rte_pktmbuf_free(rte_pktmbuf_alloc(mbufs));
	return (double)(rte_rdtsc() - t) / n;
}

static double checksum(size_t length, long n)
{
	uint16_t sum = 0;
	uint64_t t = rte_rdtsc();
	for (long i = 0; i < n; i++) {
		__asm__ volatile("" : "+r"(length) : : "memory"); /* the sum is taken anew each time */
		sum += rte_raw_cksum(bytes, length);
	}
	sink = sum;
	return (double)(rte_rdtsc() - t) / n;
}

static double run(const char *loop, long n)
{
	if (!strcmp(loop, "ring_sp_bulk"))
		return ring_bulk(sp, n);
	if (!strcmp(loop, "ring_mp_bulk"))
		return ring_bulk(mp, n);
	if (!strcmp(loop, "ring_sp_single"))
		return ring_single(sp, n);
	if (!strcmp(loop, "ring_mp_single"))
		return ring_single(mp, n);
	if (!strcmp(loop, "pool_cached_bulk"))
		return pool_bulk(cached, n);
	if (!strcmp(loop, "pool_uncached_bulk"))
		return pool_bulk(uncached, n);
	if (!strcmp(loop, "mbuf_bulk"))
		return mbuf_bulk(n);
	if (!strcmp(loop, "mbuf_single"))
		return mbuf_single(n);
	if (!strcmp(loop, "checksum_20"))
		return checksum(20, n);
	if (!strcmp(loop, "checksum_64"))
		return checksum(64, n);
	if (!strcmp(loop, "checksum_1500"))
		return checksum(1500, n);
	return -1;
}

int main(int argc, char **argv)
{
	char loop[64];
	long n;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	sp = rte_ring_create("sp", 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	mp = rte_ring_create("mp", 1024, SOCKET_ID_ANY, 0);
	cached = rte_mempool_create("cached", 8191, 2048, 256, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	uncached = rte_mempool_create("uncached", 8191, 2048, 0, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	mbufs = rte_pktmbuf_pool_create("mbufs", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!sp || !mp || !cached || !uncached || !mbufs)
		return 2;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i * 7;
	puts("ready");
	fflush(stdout);
	while (scanf("%63s %ld", loop, &n) == 2) {
		printf("%.4f\n", run(loop, n));
		fflush(stdout);
	}
	rte_eal_cleanup();
	return 0;
}
