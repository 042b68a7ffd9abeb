/* The accelerator: the inner loop of an Engine, in plain C without Python.h.

   It is the hardware half of the machine: the soft MMU (TLB fill from the page table, demand zero, copy on write, the
   writable-or-executable rule), the instruction budget, the capture of syscall registers and the switch of register
   contexts. It is loaded with ctypes (native.py), which hands over the addresses of
   Unicorn's functions, so that neither Unicorn's headers nor its library are needed to build it.

   twin.py does the same in Python; memory/frames.py and memory/table.py read and write the same structures. layout.py
   describes them for both; sandbox_layout() lets it check that the two agree. Rules: no allocation on a guest's request
   beyond the pool, no loop that is longer than a page table leaf, nothing here trusts a guest's register.

   Who may touch what: an engine, its contexts and the table it runs belong to one thread while it runs. The pool is
   shared by all threads; its lock guards reference counts, free lists and accounts. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "_x86.h"

#define EXPORT __attribute__((visibility("default")))
#define PAGE 4096u
#define LEAF_ENTRIES 512u

/* Page table entry: flags below, frame number from bit 12 on. Access bits are (PROT_* << 1). */
enum { PRESENT = 1, READ = 2, WRITE = 4, EXECUTE = 8, COPY = 16, ZERO = 32, CLEAN = 64, ACCESSED = 128, SHARED = 256, DEVICE = 512 };
/* Frame state: what any engine's TLB or translation cache may hold of it. A frame is filled writable or executable,
   never both, because a store through a writable entry that is older than a translation is not seen by Unicorn. One
   that flips too often (code and data in one page that may be written and executed) becomes MIXED: always filled with
   both, which keeps its stores on Unicorn's slow path, where they are seen. A MIXED frame belongs to the engine that has
   seen its present generation; another one that fills it takes it away by a new generation. */
enum { IDLE = 0, WRITABLE = 1, EXECUTABLE = 2, MIXED = 3 };
enum { FLIPS_UNTIL_MIXED = 4 };
enum { CHUNK = 1 << 16 }; /* code bytes between looks at the clock, when the budget is time */
/* Why a run stopped. */
enum { STOP_NONE, STOP_SYSCALL, STOP_FAULT, STOP_BUDGET, STOP_TRAP, STOP_HALT, STOP_BREAKPOINT, STOP_ERROR, STOP_FLIP, STOP_GUARD };
enum { OOM_NONE, OOM_VM, OOM_POOL };
/* Code that Unicorn cannot be trusted with (engine.py words them); reported as an error. */
enum { KILLER_OVERRUN = 0x1001, KILLER_AVX = 0x1002, INTERRUPTED = 0x1003, KILLER_LOCKED = 0x1004 };
enum { MOST_EXITS = 1024, MOST_EXITS_OF_PAGE = 64, EDGE = 15, MOST_BREAKS = 256 };
/* What an engine has found in a frame (x86): it was looked at, holds a locked bit test, has a lock prefix at an end. */
enum { LOOKED = 1, LOCKED_BIT = 2, LOCKED_EDGE = 4 };
enum { CONSTANT = 1, TIMESPEC_64, TIMESPEC_32, TIMEVAL_64, TIMEVAL_32 }; /* calls that are answered here */
enum { SYSCALL_LENGTH = 2 };   /* of x86-64's instruction */
enum { UNDEFINED_OPCODE = 6 }; /* x86's exception */
enum { MOST_OVERDRAWN = 1 << 24 }; /* code bytes beyond its budget that frames which change sides may cost a run */
enum { SELF_MODIFICATION = 4096 }; /* code bytes that it is charged for: translating anew takes that long */

/* Unicorn's constants that are used here (unicorn.h, 2.1.4). */
enum { UC_MEM_READ = 16, UC_MEM_WRITE = 17, UC_MEM_FETCH = 18, UC_ERR_INSN_INVALID = 10, UC_ERR_EXCEPTION = 21 };
#define CTL_WRITE_0(type) ((type) | (0 << 26) | (1 << 30))
#define CTL_WRITE_2(type) ((type) | (2 << 26) | (1 << 30))
enum { CTL_EXITS = 6, CTL_REMOVE_CACHE = 9, CTL_TB_FLUSH = 10, CTL_TLB_FLUSH = 11 };

struct account {
    int64_t used, peak, limit, reserved;
};

struct pool {
    uint8_t *base;
    uint64_t frames;
    uint32_t *references, *generation, *owner;
    uint8_t *state, *flip_count;
    uint32_t *zeroed, *dirty; /* stacks of free frames: known to be zero, or to be zeroed when handed out */
    uint64_t zeroed_count, dirty_count, next;
    struct account *accounts;
    int64_t used, peak;
    uint64_t code_epoch; /* the host wrote to executable frames: engines flush */
    int64_t lock;
};

struct slot {
    uint64_t key, leaf; /* key: (address >> 21) + 1, 0 when empty */
};

struct table {
    uint64_t identity, epoch; /* epoch grows when an entry shrinks: engines flush */
    uint64_t mask;            /* slots - 1 */
    uint64_t multiplier;      /* of the hash: odd, and secret, or guests would choose addresses that collide */
    struct slot *slots;
    uint64_t account;
    uint64_t end; /* the first address a guest cannot have */
    uint64_t work;   /* code bytes executed in it: what time is to an exact engine */
    uint64_t engine; /* the engine that ran it last: the TLBs of others may be older than the table */
};

struct constant {
    uint64_t valid, value, count; /* valid: 0, CONSTANT, or which time the call wants */
};

struct engine;
struct context {
    void *saved;           /* uc_context */
    struct engine *engine; /* where the registers live now, NULL when parked in `saved` */
    uint64_t has_result, result;
    uint64_t resume; /* PC of a data fault whose block has been charged already */
    struct constant *constants;
    uint64_t constants_count;
};

struct functions {
    int (*emu_start)(void *, uint64_t, uint64_t, uint64_t, size_t);
    int (*emu_stop)(void *);
    int (*reg_read)(void *, int, void *);
    int (*reg_write)(void *, int, const void *);
    int (*reg_read_batch)(void *, const int *, void **, int);
    int (*context_save)(void *, void *);
    int (*context_restore)(void *, void *);
    int (*ctl)(void *, int, ...);
};

struct engine {
    /* the report of the last run; Python reads it as 16 words */
    uint64_t reason, number, arguments[6], address, access, out_of_memory, vector, error, work, pc, flips;
    /* what it is made of */
    void *uc;
    struct functions *call;
    struct pool *pool;
    uint32_t *seen; /* per frame: generation + 1 of the translations this engine may hold */
    struct table *table;
    struct context *live;
    int64_t left;
    uint64_t skip, exact, preemptible, privileged, thumb, sysret;
    uint64_t loaded_identity, loaded_epoch, loaded_code_epoch;
    uint64_t fills, fills_since_flush, flushes, tlb_entries;
    uint64_t scratch, scratch_on; /* identity fill for set-up and for dropping translations */
    uint64_t flip_frame, flip_need;
    uint64_t flip_shared, flip_whole; /* other tables or files show the frame; its page is writable and executable */
    int64_t syscall_vector; /* interrupt number that means a syscall, -1: none */
    int64_t number_register, result_register, pc_register, flags_register;
    int64_t argument_registers[6];
    int64_t sysret_registers[2];
    uint64_t word_mask;
    int64_t deadline; /* CLOCK_MONOTONIC ns when the budget is time, else 0 */
    int64_t granted;  /* code bytes allowed so far in this run */
    uint64_t interrupted, faults_resolved;
    uint64_t scratch_address;
    int64_t cpuid_registers[4]; /* eax, ebx, ecx, edx */
    uint64_t cpuid[2][4];       /* leaves 1 and 7 */
    uint64_t scan;       /* x86: bits of the mode whose killers are looked for, 0: no need */
    uint64_t killer_frame, counting;
    uint64_t step_frame; /* x86: the frame that one instruction may execute from and store to */
    uint8_t *guards;     /* x86, per frame: what was found in it */
    uint64_t *exits;     /* x86: addresses at which the translator stops instead of reading on */
    uint64_t exits_count, exits_lost;
    uint64_t *breaks; /* addresses at which a debugger wants the run to stop */
    uint64_t breaks_count, breaks_changed;
    uint64_t (*bring)(uint64_t address, uint64_t access); /* x86: Python brings a page within the callback, or NULL */
};

EXPORT size_t sandbox_layout(int what)
{
    switch (what) {
    case 0: return sizeof(struct account);
    case 1: return sizeof(struct pool);
    case 2: return sizeof(struct table);
    case 3: return sizeof(struct context);
    case 4: return sizeof(struct engine);
    case 5: return sizeof(struct functions);
    case 6: return sizeof(struct constant);
    default: return 0;
    }
}

/* ---- pool ---------------------------------------------------------------------------------------------------- */

static void pool_lock(struct pool *p)
{
    while (__atomic_exchange_n(&p->lock, 1, __ATOMIC_ACQUIRE))
        while (__atomic_load_n(&p->lock, __ATOMIC_RELAXED)) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
        }
}

static void pool_unlock(struct pool *p) { __atomic_store_n(&p->lock, 0, __ATOMIC_RELEASE); }

/* Frame number, or -1 when the account, -2 when the pool is exhausted. `zero`: the caller will not overwrite it all. */
static int64_t allocate_locked(struct pool *p, uint64_t owner, bool zero)
{
    struct account *a = &p->accounts[owner];
    uint32_t frame;
    if (a->used >= a->limit)
        return -1;
    if (!zero && p->dirty_count)
        frame = p->dirty[--p->dirty_count];
    else if (p->zeroed_count)
        frame = p->zeroed[--p->zeroed_count];
    else if (p->next < p->frames)
        frame = (uint32_t)p->next++;
    else if (p->dirty_count) {
        frame = p->dirty[--p->dirty_count];
        memset(p->base + (uint64_t)frame * PAGE, 0, PAGE);
    } else
        return -2;
    p->references[frame] = 1;
    p->owner[frame] = (uint32_t)owner;
    if (++a->used > a->peak)
        a->peak = a->used;
    if (++p->used > p->peak)
        p->peak = p->used;
    return frame;
}

EXPORT int64_t sandbox_allocate(struct pool *p, uint64_t owner)
{
    pool_lock(p);
    int64_t frame = allocate_locked(p, owner, true);
    pool_unlock(p);
    return frame;
}

EXPORT void sandbox_retain(struct pool *p, uint64_t frame)
{
    pool_lock(p);
    p->references[frame]++;
    pool_unlock(p);
}

static void release_locked(struct pool *p, uint64_t frame)
{
    if (--p->references[frame])
        return;
    if (p->state[frame] >= EXECUTABLE)
        p->generation[frame]++; /* engines drop what they translated from it before they run it again */
    p->state[frame] = IDLE;
    p->flip_count[frame] = 0;
    p->accounts[p->owner[frame]].used--;
    p->used--;
    p->dirty[p->dirty_count++] = (uint32_t)frame;
}

EXPORT uint64_t sandbox_release(struct pool *p, uint64_t frame)
{
    pool_lock(p);
    release_locked(p, frame);
    uint64_t left = p->references[frame];
    pool_unlock(p);
    return left;
}

/* Release the frames of entries [first, first + count) of a leaf and clear the entries. */
EXPORT void sandbox_clear_entries(struct pool *p, uint64_t leaf, uint64_t first, uint64_t count)
{
    uint64_t *entry = (uint64_t *)(p->base + leaf * PAGE) + first;
    pool_lock(p);
    for (; count; count--, entry++) {
        if ((*entry & PRESENT) && !(*entry & DEVICE))
            release_locked(p, *entry >> 12);
        *entry = 0;
    }
    pool_unlock(p);
}

/* Drop one reference to a leaf; with the last one go its frames. */
EXPORT void sandbox_release_leaf(struct pool *p, uint64_t leaf)
{
    uint64_t *entry = (uint64_t *)(p->base + leaf * PAGE);
    pool_lock(p);
    if (p->references[leaf] == 1)
        for (unsigned i = 0; i < LEAF_ENTRIES; i++)
            if ((entry[i] & PRESENT) && !(entry[i] & DEVICE))
                release_locked(p, entry[i] >> 12);
    release_locked(p, leaf);
    pool_unlock(p);
}

/* A private copy of a shared leaf: each frame gains a reference. Frame of the copy, or -1, -2. */
EXPORT int64_t sandbox_copy_leaf(struct pool *p, uint64_t leaf, uint64_t owner)
{
    pool_lock(p);
    int64_t copy = allocate_locked(p, owner, false);
    if (copy >= 0) {
        uint64_t *entry = (uint64_t *)(p->base + (uint64_t)copy * PAGE);
        memcpy(entry, p->base + leaf * PAGE, PAGE);
        for (unsigned i = 0; i < LEAF_ENTRIES; i++)
            if ((entry[i] & PRESENT) && !(entry[i] & DEVICE))
                p->references[entry[i] >> 12]++;
        release_locked(p, leaf);
    }
    pool_unlock(p);
    return copy;
}

/* Mark every private writable entry of a leaf copy-on-write, and share the leaf once more. */
EXPORT void sandbox_share_leaf(struct pool *p, uint64_t leaf)
{
    uint64_t *entry = (uint64_t *)(p->base + leaf * PAGE);
    pool_lock(p);
    for (unsigned i = 0; i < LEAF_ENTRIES; i++)
        if ((entry[i] & PRESENT) && !(entry[i] & (SHARED | DEVICE)))
            entry[i] |= COPY;
    p->references[leaf]++;
    pool_unlock(p);
}

/* Give entries [first, first + count) of a leaf other access bits; those not present yet are forgotten. */
EXPORT void sandbox_protect_entries(struct pool *p, uint64_t leaf, uint64_t first, uint64_t count, uint64_t access)
{
    uint64_t *entry = (uint64_t *)(p->base + leaf * PAGE) + first;
    for (; count; count--, entry++)
        *entry = *entry & PRESENT ? (*entry & ~(uint64_t)(READ | WRITE | EXECUTE)) | access : 0;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Give the free frames that may hold old bytes back to the host, which returns them as zeros. How many went. */
EXPORT uint64_t sandbox_trim(struct pool *p)
{
    pool_lock(p);
    uint64_t count = p->dirty_count;
    qsort(p->dirty, count, sizeof *p->dirty, ascending);
    for (uint64_t i = 0, j; i < count; i = j) {
        for (j = i + 1; j < count && p->dirty[j] == p->dirty[j - 1] + 1; j++) {
        }
        madvise(p->base + (uint64_t)p->dirty[i] * PAGE, (j - i) * PAGE, MADV_DONTNEED);
    }
    for (uint64_t i = 0; i < count; i++)
        p->zeroed[p->zeroed_count + i] = p->dirty[count - 1 - i]; /* the lowest are used again first */
    p->zeroed_count += count;
    p->dirty_count = 0;
    pool_unlock(p);
    return count;
}

/* ---- soft MMU ------------------------------------------------------------------------------------------------ */

static uint64_t *find_entry(struct engine *e, uint64_t address, uint64_t *leaf)
{
    struct table *t = e->table;
    uint64_t key = (address >> 21) + 1, i = (key * t->multiplier >> 32) & t->mask;
    for (;; i = (i + 1) & t->mask) {
        if (t->slots[i].key == key) {
            *leaf = t->slots[i].leaf;
            return (uint64_t *)(e->pool->base + *leaf * PAGE) + (address >> 12 & (LEAF_ENTRIES - 1));
        }
        if (!t->slots[i].key)
            return NULL;
    }
}

struct tlb_entry {
    uint64_t paddr;
    int perms;
};

static bool fault(struct engine *e, uint64_t address, uint64_t need, uint64_t oom)
{
    e->reason = STOP_FAULT;
    e->address = address;
    e->access = need >> 1;
    e->out_of_memory = oom;
    return false;
}

static bool flip(struct engine *e, uint64_t entry, uint64_t need, bool private_leaf)
{
    uint64_t frame = entry >> 12;
    e->reason = STOP_FLIP;
    e->flip_frame = frame;
    e->flip_need = need;
    e->flip_shared = !private_leaf || e->pool->references[frame] > 1;
    e->flip_whole = (entry & WRITE) && (entry & EXECUTE);
    e->flips++;
    return false;
}

static bool refuse(struct engine *e, uint64_t killer, uint64_t address)
{
    e->reason = STOP_ERROR;
    e->error = killer;
    e->address = address;
    return false;
}

/* What other engines hold of a frame is no longer true: they flush before they run again. This one has. */
static void outdate_others(struct engine *e)
{
    uint64_t epoch = __atomic_fetch_add(&e->pool->code_epoch, 1, __ATOMIC_SEQ_CST);
    if (e->loaded_code_epoch == epoch)
        e->loaded_code_epoch = epoch + 1;
}

/* The whole of copy on write and demand zero; the leaf is private to this table. 0: done, else an OOM_* value. */
static uint64_t materialise(struct engine *e, uint64_t *entry, uint64_t need)
{
    struct pool *p = e->pool;
    uint64_t value = *entry, oom = 0;
    int64_t frame;
    pool_lock(p);
    if (!(value & PRESENT)) {
        frame = allocate_locked(p, e->table->account, true);
        if (frame >= 0)
            *entry = ((uint64_t)frame << 12) | (value & 0xfff & ~(uint64_t)ZERO) | PRESENT;
    } else if (p->references[value >> 12] == 1) {
        frame = (int64_t)(value >> 12);
        *entry = value & ~(uint64_t)(COPY | CLEAN);
    } else {
        frame = allocate_locked(p, e->table->account, false);
        if (frame >= 0) {
            memcpy(p->base + (uint64_t)frame * PAGE, p->base + (value >> 12) * PAGE, PAGE);
            release_locked(p, value >> 12);
            *entry = ((uint64_t)frame << 12) | (value & 0xfff & ~(uint64_t)(COPY | CLEAN));
        }
    }
    pool_unlock(p);
    (void)need;
    if (frame < 0)
        oom = frame == -1 ? OOM_VM : OOM_POOL;
    return oom;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* x86: let the translator stop before every locked bit test of the page at `address`, wherever it would be entered; the
   bytes may be split over two pages, of which the one that is filled later sees the other. False: exits were added, so
   the run has to begin again with them; or the page is refused. */
static bool guard(struct engine *e, uint64_t address, uint64_t frame)
{
    uint8_t *base = e->pool->base, *page = base + frame * PAGE, edge[2 * EDGE];
    bool long_mode = e->scan == 64;
    uint64_t leaf, found = 0, before = e->exits_count;
    if (!e->guards[frame]) {
        uint8_t what = LOOKED;
        for (uint8_t *at = page; (at = memchr(at, 0xf0, (size_t)(page + PAGE - at))); at++)
            what |= (at < page + EDGE || at >= page + PAGE - EDGE ? LOCKED_EDGE : 0) |
                    (x86_locked_bit(at, (size_t)(page + PAGE - at), long_mode) ? LOCKED_BIT : 0);
        e->guards[frame] = what;
    }
    for (int side = -1; side <= 1; side++) {
        const uint8_t *bytes = page;
        uint64_t size = PAGE, start = address;
        if (side) {
            uint64_t other = (address + (uint64_t)(side * (int)PAGE)) & e->word_mask, *entry = find_entry(e, other, &leaf);
            if (!entry || (*entry & (PRESENT | EXECUTE | DEVICE)) != (PRESENT | EXECUTE))
                continue;
            uint64_t neighbour = *entry >> 12;
            if (!((e->guards[frame] | e->guards[neighbour]) & LOCKED_EDGE) && e->guards[neighbour])
                continue;
            uint8_t *next = base + neighbour * PAGE;
            memcpy(edge, (side < 0 ? next : page) + PAGE - EDGE, EDGE);
            memcpy(edge + EDGE, side < 0 ? page : next, EDGE);
            bytes = edge;
            size = sizeof edge;
            start = (side < 0 ? address : other) - EDGE;
        } else if (!(e->guards[frame] & LOCKED_BIT))
            continue;
        for (const uint8_t *at = bytes; (at = memchr(at, 0xf0, (size_t)(bytes + size - at))); at++) {
            if (!x86_locked_bit(at, (size_t)(bytes + size - at), long_mode))
                continue;
            const uint8_t *first = at; /* the instruction may begin with other prefixes */
            do {
                uint64_t exit = (start + (uint64_t)(first - bytes)) & e->word_mask, i = 0;
                while (i < e->exits_count && e->exits[i] != exit)
                    i++;
                if (++found > MOST_EXITS_OF_PAGE) {
                    e->exits_count = before; /* the translator has not been told of the others */
                    return refuse(e, KILLER_LOCKED, address);
                }
                if (i == e->exits_count) {
                    if (i == MOST_EXITS) { /* forget those of other pages: they are found again */
                        e->exits_count = 0;
                        e->exits_lost = 1;
                        e->reason = STOP_GUARD;
                        return false;
                    }
                    e->exits[e->exits_count++] = exit;
                }
            } while (first-- > bytes && at - first < 13 && x86_prefix(*first, long_mode));
        }
    }
    if (e->exits_count != before)
        e->reason = STOP_GUARD;
    return e->exits_count == before;
}

static bool is_exit(struct engine *e, uint64_t pc)
{
    for (uint64_t i = 0; i < e->exits_count; i++)
        if (e->exits[i] == pc)
            return true;
    return false;
}

/* When a run ends, Unicorn looks up the page of every exit, wherever it is, also one that stems from another space and is
   not to be found in this one: that is no fault. A guest fetches from the page of its PC, or goes on into the next. */
static bool not_for_guest(struct engine *e, uint64_t address)
{
    uint64_t pc = 0;
    e->call->reg_read(e->uc, (int)e->pc_register, &pc);
    return (address & ~(uint64_t)(PAGE - 1)) - (pc & e->word_mask & ~(uint64_t)(PAGE - 1)) > PAGE;
}

/* Only Python can serve the access: it gives the table a leaf of its own, or the page its bytes. */
static bool beyond_us(struct engine *e, const uint64_t *entry, uint64_t leaf, uint64_t need)
{
    if (!entry || !(*entry & need))
        return true;
    if (*entry & DEVICE)
        return false;
    bool private_leaf = e->pool->references[leaf] == 1;
    if ((*entry & PRESENT) && (need != WRITE || (!(*entry & COPY) && private_leaf)))
        return false;
    return !private_leaf || !(*entry & (PRESENT | ZERO));
}

/* facts 1.9: a fill for a load or store within a Thumb IT block must not leave the block's condition bits behind. Between
   two blocks, where instructions are fetched, they are what the rest of an IT block over a page border needs. */
static void forget_condition(struct engine *e)
{
    uint64_t flags = 0;
    e->call->reg_read(e->uc, (int)e->flags_register, &flags);
    if (flags & 0x0600fc00) {
        flags &= ~(uint64_t)0x0600fc00;
        e->call->reg_write(e->uc, (int)e->flags_register, &flags);
    }
}

static bool fill(void *uc, uint64_t address, int type, struct tlb_entry *result, void *data)
{
    struct engine *e = data;
    struct pool *p = e->pool;
    (void)uc;
    if (e->scratch_on) {
        result->paddr = e->scratch;
        result->perms = 7;
        return true;
    }
    if ((e->exits_count || e->breaks_count) && type == UC_MEM_FETCH) {
        if (not_for_guest(e, address)) {
            result->paddr = 0; /* a frame that no guest has; the entry is flushed before one runs again */
            result->perms = 5;
            e->loaded_identity = 0;
            return true;
        }
        if (e->reason != STOP_NONE)
            return false; /* a refused fetch is asked for twice, and what is granted the second time is executed */
    }
    uint64_t need = type == UC_MEM_READ ? READ : type == UC_MEM_WRITE ? WRITE : EXECUTE, leaf = 0;
    address &= ~(uint64_t)(PAGE - 1);
    if (address >= e->table->end)
        return fault(e, address, need, OOM_NONE);
    uint64_t *entry = find_entry(e, address, &leaf);
    if (beyond_us(e, entry, leaf, need)) {
        /* On x86 an instruction that faults may have spoilt the flags already (`setl` to memory): what can be served is
           served here. What Python changes of other pages it only adds: spaces that run are not reclaimed from. */
        if (!e->bring || !e->bring(address, need >> 1))
            return fault(e, address, need, OOM_NONE);
        entry = find_entry(e, address, &leaf);
        if (beyond_us(e, entry, leaf, need))
            return fault(e, address, need, OOM_NONE);
    }
    e->fills++;
    e->fills_since_flush++;
    if (!e->preemptible && !(e->fills & 15) && now() >= e->deadline) {
        e->reason = STOP_BUDGET; /* like a fault that is retried: precise */
        return false;
    }
    uint64_t value = *entry;
    if (value & DEVICE) {
        result->paddr = value & ~(uint64_t)0xfff;
        result->perms = 3;
        if (e->thumb)
            forget_condition(e);
        return true;
    }
    bool private_leaf = p->references[leaf] == 1;
    if (!(value & PRESENT) || (need == WRITE && ((value & COPY) || !private_leaf))) {
        uint64_t oom = materialise(e, entry, need);
        if (oom)
            return fault(e, address, need, oom);
        e->faults_resolved++;
        value = *entry;
    }
    if (!(value & ACCESSED) && private_leaf)
        *entry = value |= ACCESSED;
    uint64_t frame = value >> 12;
    uint8_t state = p->state[frame];
    uint32_t current = p->generation[frame] + 1, seen = e->seen[frame];
    bool writable = (value & WRITE) && !(value & COPY) && private_leaf;
    int perms = (value & READ ? 1 : 0);
    result->paddr = frame * PAGE;
    if (e->step_frame == frame && frame) {
        result->perms = 7;
        if (e->thumb && need != EXECUTE)
            forget_condition(e);
        return true;
    }
    if (state == MIXED) {
        bool whole = writable && (value & EXECUTE);
        if (need == READ && !whole) {
            perms = 1;
        } else if (seen != current || (need == WRITE && !whole)) {
            return flip(e, value, need, private_leaf);
        } else
            perms |= whole ? 2 | 4 : 4;
    } else if (need == EXECUTE) {
        if (state == WRITABLE || (seen && seen != current))
            return flip(e, value, need, private_leaf);
        if (state != EXECUTABLE && e->scan && x86_overruns(p->base + frame * PAGE, e->scan == 64))
            return refuse(e, KILLER_OVERRUN, address);
        e->seen[frame] = current;
        p->state[frame] = EXECUTABLE; /* from here on, a frame that is given back gets a new generation */
        if (e->scan) {
            if (seen != current)
                e->guards[frame] = 0;
            if (!guard(e, address, frame))
                return false;
        }
        perms |= 4;
    } else if (state == EXECUTABLE) {
        if (need == WRITE)
            return flip(e, value, need, private_leaf);
        perms |= (value & EXECUTE) && seen == current && !e->scan ? 4 : 0; /* x86 looks at every page it fetches from */
    } else if (writable) {
        p->state[frame] = WRITABLE;
        perms |= 2;
    }
    result->perms = perms;
    if (e->thumb && need != EXECUTE)
        forget_condition(e);
    return true;
}

enum { FEWEST_TLB_ENTRIES = 256, MOST_TLB_ENTRIES = 1 << 18 };

/* Unicorn doubles its TLB in a flush that finds it more than 70 % used, and halves it when little was: follow by counting.
   A flush before it has filled up would throw away what was just learned, and keep it small. */
static void flush(struct engine *e)
{
    if (e->fills_since_flush > 2 * e->tlb_entries && e->tlb_entries < MOST_TLB_ENTRIES)
        e->tlb_entries *= 2;
    else if (e->fills_since_flush < e->tlb_entries / 4 && e->tlb_entries > FEWEST_TLB_ENTRIES)
        e->tlb_entries /= 2;
    e->call->ctl(e->uc, CTL_WRITE_0(CTL_TLB_FLUSH));
    e->fills_since_flush = 0;
    e->flushes++;
}

/* Drop what this engine translated from a frame: a fill that maps a scratch address to it makes Unicorn find them. */
static void drop_translations(struct engine *e, uint64_t frame)
{
    uint64_t scratch = e->scratch;
    flush(e);
    if (e->thumb && frame * PAGE >> 32) {
        e->call->ctl(e->uc, CTL_WRITE_0(CTL_TB_FLUSH)); /* on arm, Unicorn does not find them by such an address */
        return;
    }
    e->scratch = frame * PAGE;
    e->scratch_on = 1;
    e->call->ctl(e->uc, CTL_WRITE_2(CTL_REMOVE_CACHE), e->scratch_address, e->scratch_address + PAGE);
    e->scratch_on = 0;
    e->scratch = scratch;
    flush(e);
}

/* `count` is Unicorn's: a hook on every instruction, of which blocks translated before know nothing. Unicorn itself drops
   the blocks that have it when the next start comes without. */
static int start(struct engine *e, uint64_t pc, uint64_t count)
{
    if (count && !e->counting)
        e->call->ctl(e->uc, CTL_WRITE_0(CTL_TB_FLUSH));
    e->counting = count != 0;
    if (!e->loaded_identity) { /* the end of the run before has left an entry that is no guest's */
        flush(e);
        e->loaded_identity = e->table->identity;
    }
    return e->call->emu_start(e->uc, pc, 0, 0, count);
}

static bool shows(struct engine *e, uint64_t address, uint64_t frame)
{
    uint64_t leaf, *entry = find_entry(e, address, &leaf);
    return entry && (*entry & PRESENT) && *entry >> 12 == frame;
}

/* A frame changes between writable and executable, or holds other code than this engine has seen.
   On x86 no frame becomes MIXED, since its stores would escape the scan; false: step over the store instead. */
static bool resolve_flip(struct engine *e, uint64_t pc)
{
    struct pool *p = e->pool;
    uint64_t frame = e->flip_frame;
    uint8_t from = p->state[frame], to = from;
    if (from == WRITABLE && e->flip_need == EXECUTE)
        to = EXECUTABLE;
    else if (e->flip_need == WRITE && (from == EXECUTABLE || !e->flip_whole))
        to = WRITABLE;
    if (to != from && ++p->flip_count[frame] >= FLIPS_UNTIL_MIXED) {
        p->flip_count[frame] = FLIPS_UNTIL_MIXED;
        if (e->scan)
            e->left -= SELF_MODIFICATION;
        if (!e->scan)
            to = e->flip_whole ? MIXED : to;
        else if (to == WRITABLE && (shows(e, pc, frame) || shows(e, pc + PAGE, frame)))
            return false; /* the block may run on into the next page, which its translation needs executable again */
    }
    if (to != from || from == MIXED) {
        if (from >= EXECUTABLE)
            p->generation[frame]++;
        if (e->flip_shared)
            outdate_others(e);
    }
    p->state[frame] = from == WRITABLE && to == EXECUTABLE ? IDLE : to; /* the fill looks at new code before it is run */
    if (to != WRITABLE) {
        if (e->seen[frame] && e->seen[frame] != p->generation[frame] + 1)
            drop_translations(e, frame);
        e->seen[frame] = p->generation[frame] + 1;
        if (e->scan)
            e->guards[frame] = 0;
    }
    flush(e);
    return true;
}

static uint64_t thumb_bit(struct engine *e)
{
    uint64_t flags = 0;
    e->call->reg_read(e->uc, (int)e->flags_register, &flags);
    return flags >> 5 & 1;
}

/* Tell the translator of all exits and breakpoints but one. */
static void set_exits_but(struct engine *e, uint64_t except)
{
    uint64_t all[MOST_EXITS + MOST_BREAKS];
    size_t count = 0;
    if (e->exits_lost) { /* every page is looked at again, and what was translated with other exits is forgotten */
        e->call->ctl(e->uc, CTL_WRITE_0(CTL_TB_FLUSH));
        flush(e);
        e->exits_lost = 0;
    }
    for (uint64_t i = 0; i < e->exits_count; i++)
        if (e->exits[i] != except)
            all[count++] = e->exits[i];
    for (uint64_t i = 0; i < e->breaks_count; i++)
        if (e->breaks[i] != except)
            all[count++] = e->breaks[i];
    e->call->ctl(e->uc, CTL_WRITE_2(CTL_EXITS), all, count);
}

static void set_exits(struct engine *e) { set_exits_but(e, ~(uint64_t)0); }

static bool is_break(struct engine *e, uint64_t pc)
{
    for (uint64_t i = 0; i < e->breaks_count; i++)
        if (e->breaks[i] == pc)
            return true;
    return false;
}

/* The translator has stopped at an exit. Is it the instruction that it is there for, or only in the same place? */
static bool at_locked_bit(struct engine *e, uint64_t pc)
{
    uint8_t code[2 * EDGE]; /* all that `guard` considers, which is more than an instruction may have */
    size_t size = 0;
    for (uint64_t leaf, *entry; size < sizeof code; size++) {
        uint64_t address = (pc + size) & e->word_mask;
        if (!(entry = find_entry(e, address, &leaf)) || !(*entry & PRESENT) || (*entry & DEVICE))
            break;
        code[size] = e->pool->base[(*entry & ~(uint64_t)0xfff) + (address & (PAGE - 1))];
    }
    for (size_t at = 0; at < size && x86_prefix(code[at], e->scan == 64); at++)
        if (x86_locked_bit(code + at, size - at, e->scan == 64))
            return true;
    return false;
}


/* x86: an instruction stores to the frame it is executed from. Let it, alone; what it wrote is scanned at the next fetch. */
static int step_over(struct engine *e, uint64_t pc)
{
    struct pool *p = e->pool;
    uint64_t frame = e->flip_frame;
    e->step_frame = frame;
    e->skip = 1;
    e->reason = STOP_NONE;
    flush(e);
    int error = start(e, pc, 1);
    e->step_frame = 0;
    p->generation[frame]++;
    p->state[frame] = WRITABLE;
    if (e->flip_shared)
        outdate_others(e);
    flush(e);
    return error;
}

/* An empty block at the beginning of a page makes the translator look for the page before it. */
static bool stopped_at_exit(struct engine *e, uint64_t pc, int error)
{
    if (e->reason == STOP_FAULT)
        return e->access << 1 == EXECUTE && e->address == ((pc - 1) & e->word_mask & ~(uint64_t)(PAGE - 1)) && !(pc & (PAGE - 1));
    return e->reason == STOP_NONE && !error;
}

/* One instruction at an exit that is none of those it guards against, or at a breakpoint. */
static int pass_exit(struct engine *e, uint64_t pc)
{
    set_exits_but(e, pc); /* the others still hold: the rest of its block is translated, too */
    e->reason = STOP_NONE;
    int error = start(e, pc | (e->thumb ? thumb_bit(e) : 0), 1);
    if (e->reason == STOP_FLIP && !resolve_flip(e, pc))
        error = step_over(e, pc);
    set_exits(e);
    return error;
}

/* The one instruction that was wanted has been executed, and only the next one met something. */
static bool stepped(struct engine *e, uint64_t count, uint64_t begun, uint64_t pc)
{
    bool met = e->reason == STOP_GUARD || e->reason == STOP_FLIP || (e->reason == STOP_FAULT && e->access << 1 == EXECUTE);
    if (!count || pc == begun || !met)
        return false;
    if (e->reason == STOP_GUARD)
        set_exits(e);
    e->reason = STOP_BUDGET;
    return true;
}

/* After one instruction alone: what it needed first is there now, so that it can be tried again. */
static bool try_again(struct engine *e, uint64_t pc)
{
    if (e->reason == STOP_FLIP)
        resolve_flip(e, pc);
    else if (e->reason == STOP_GUARD)
        set_exits(e);
    else
        return false;
    if (e->left > 0)
        return true;
    e->reason = STOP_BUDGET; /* two frames at once that it executes from and stores to: a guest that waits for ever */
    return false;
}

/* ---- hooks --------------------------------------------------------------------------------------------------- */

static void on_block(void *uc, uint64_t address, uint32_t size, void *data)
{
    struct engine *e = data;
    (void)address;
    if (e->skip) {
        e->skip = 0; /* the rest of a block that was charged before its fault */
        return;
    }
    if (e->left <= 0) {
        if (!e->deadline || now() >= e->deadline) {
            e->reason = STOP_BUDGET;
            e->call->emu_stop(uc);
            return;
        }
        e->left += CHUNK;
        e->granted += CHUNK;
    }
    e->left -= size ? size : 1;
}

static uint64_t read_pc(struct engine *e)
{
    uint64_t pc = 0;
    e->call->reg_read(e->uc, (int)e->pc_register, &pc);
    return pc & e->word_mask;
}

/* x86-64: rcx and r11 as the syscall instruction leaves them, which Unicorn does not do. */
static void leave_as_sysret(struct engine *e, uint64_t next)
{
    uint64_t flags = 0;
    e->call->reg_read(e->uc, (int)e->flags_register, &flags);
    e->call->reg_write(e->uc, (int)e->sysret_registers[0], &next);
    e->call->reg_write(e->uc, (int)e->sysret_registers[1], &flags);
}

/* Where the guest may store `size` bytes at once, without a fault or anything to be noted; NULL: not so simply. */
static uint8_t *plain_place(struct engine *e, uint64_t address, uint64_t size)
{
    struct pool *p = e->pool;
    uint64_t leaf, *entry;
    if (address >= e->table->end || (address & (PAGE - 1)) + size > PAGE)
        return NULL;
    entry = find_entry(e, address, &leaf);
    if (!entry || p->references[leaf] != 1 || (*entry & (PRESENT | WRITE | COPY | DEVICE)) != (PRESENT | WRITE))
        return NULL;
    return p->state[*entry >> 12] == WRITABLE ? p->base + (*entry >> 12) * PAGE + (address & (PAGE - 1)) : NULL;
}

/* clock_gettime and gettimeofday of a machine that lives in the host's time. False: the kernel answers. */
static bool tell_time(struct engine *e, uint64_t kind)
{
    bool timeval = kind == TIMEVAL_64 || kind == TIMEVAL_32, wide = kind == TIMESPEC_64 || kind == TIMEVAL_64;
    uint64_t first = 0, second = 0, address, done = 0;
    clockid_t clock = CLOCK_REALTIME;
    struct timespec time;
    e->call->reg_read(e->uc, (int)e->argument_registers[0], &first);
    e->call->reg_read(e->uc, (int)e->argument_registers[1], &second);
    address = (timeval ? first : second) & e->word_mask;
    if (timeval && (second & e->word_mask))
        return false; /* it wants the time zone as well */
    if (!timeval)
        switch ((uint32_t)first) {
        case CLOCK_REALTIME:
        case CLOCK_REALTIME_COARSE: break;
        case CLOCK_MONOTONIC:
        case CLOCK_MONOTONIC_RAW:
        case CLOCK_MONOTONIC_COARSE:
        case CLOCK_BOOTTIME: clock = CLOCK_MONOTONIC; break;
        default: return false;
        }
    uint8_t *place = plain_place(e, address, wide ? 16 : 8);
    if (!place || clock_gettime(clock, &time))
        return false;
    int64_t pair[2] = {time.tv_sec, timeval ? time.tv_nsec / 1000 : time.tv_nsec};
    if (wide) {
        memcpy(place, pair, 16);
    } else {
        int32_t narrow[2] = {(int32_t)pair[0], (int32_t)pair[1]};
        if (narrow[0] != pair[0])
            return false;
        memcpy(place, narrow, 8);
    }
    e->call->reg_write(e->uc, (int)e->result_register, &done);
    return true;
}

/* A call whose result is known (getpid and the like) is answered here, without leaving the guest's translated code. */
static bool answer(struct engine *e)
{
    struct context *c = e->live;
    uint64_t number = 0;
    e->call->reg_read(e->uc, (int)e->number_register, &number);
    number &= e->word_mask;
    if (number >= c->constants_count || !c->constants[number].valid)
        return false;
    struct constant *constant = &c->constants[number];
    if (constant->valid == CONSTANT)
        e->call->reg_write(e->uc, (int)e->result_register, &constant->value);
    else if (!tell_time(e, constant->valid))
        return false;
    if (e->sysret)
        leave_as_sysret(e, read_pc(e) + SYSCALL_LENGTH);
    constant->count++;
    return true;
}

static void on_syscall(void *uc, void *data)
{
    struct engine *e = data;
    if (e->live->constants_count && answer(e))
        return;
    e->reason = STOP_SYSCALL;
    e->call->emu_stop(uc);
}

static void on_interrupt(void *uc, uint32_t number, void *data)
{
    struct engine *e = data;
    if ((int64_t)number == e->syscall_vector) {
        on_syscall(uc, data);
        return;
    }
    e->reason = STOP_TRAP;
    e->vector = number;
    e->call->emu_stop(uc);
}

struct block {
    uint64_t pc;
    uint16_t instructions, size;
}; /* uc_tb */

/* A block has been translated and not yet executed: the last moment to refuse what Unicorn would compute wrongly. */
static void on_translation(void *uc, struct block *block, struct block *previous, void *data)
{
    struct engine *e = data;
    uint8_t code[PAGE + 16];
    uint64_t size = block->size < PAGE ? block->size : PAGE, leaf;
    (void)previous;
    if (e->scratch_on)
        return;
    for (uint64_t done = 0; done < size;) {
        uint64_t address = block->pc + done, *entry = find_entry(e, address & e->word_mask, &leaf);
        uint64_t piece = PAGE - (address & (PAGE - 1));
        if (piece > size - done)
            piece = size - done;
        if (!entry || !(*entry & PRESENT) || (*entry & DEVICE))
            return;
        memcpy(code + done, e->pool->base + (*entry & ~(uint64_t)0xfff) + (address & (PAGE - 1)), piece);
        done += piece;
    }
    for (uint64_t at = 0; at < size;) {
        struct x86_instruction in = x86_decode(code + at, size - at, e->scan == 64);
        if (in.kind == X86_VEX && in.avx) {
            e->killer_frame = find_entry(e, block->pc & e->word_mask, &leaf)[0] >> 12;
            refuse(e, KILLER_AVX, block->pc + at);
            e->call->emu_stop(uc);
            return;
        }
        if (!in.length)
            return;
        at += in.length;
    }
}

/* For tests: what the scan says of a page, and how long an instruction is. */
EXPORT int sandbox_x86_overruns(const uint8_t *page, int bits) { return x86_overruns(page, bits == 64); }

EXPORT int sandbox_x86_locked_bit(const uint8_t *code, size_t available, int bits)
{
    return x86_locked_bit(code, available, bits == 64);
}

EXPORT int sandbox_x86_length(const uint8_t *code, size_t available, int bits)
{
    return x86_decode(code, available, bits == 64).length;
}

/* CPUID: leaves 1 and 7 as the instance answers them, without RDRAND and RDSEED, which cannot be made repeatable.
   True: answered. */
static int on_cpuid(void *uc, void *data)
{
    struct engine *e = data;
    uint64_t leaf = 0, subleaf = 0;
    e->call->reg_read(uc, (int)e->cpuid_registers[0], &leaf);
    e->call->reg_read(uc, (int)e->cpuid_registers[2], &subleaf);
    leaf &= 0xffffffff;
    if (leaf != 1 && (leaf != 7 || (subleaf & 0xffffffff)))
        return 0;
    for (int i = 0; i < 4; i++) {
        uint64_t value = e->cpuid[leaf == 7][i];
        e->call->reg_write(uc, (int)e->cpuid_registers[i], &value);
    }
    return 1;
}

/* The time stamp counter of an exact engine counts code bytes and its own readings, so that runs repeat. */
static int on_rdtsc(void *uc, void *data)
{
    struct engine *e = data;
    uint64_t ticks = ++e->table->work + (uint64_t)(e->granted - e->left), low = ticks & 0xffffffff, high = ticks >> 32;
    e->call->reg_write(uc, (int)e->cpuid_registers[0], &low);
    e->call->reg_write(uc, (int)e->cpuid_registers[3], &high);
    return 1;
}

static int on_rdtscp(void *uc, void *data)
{
    struct engine *e = data;
    uint64_t processor = 0;
    e->call->reg_write(uc, (int)e->cpuid_registers[2], &processor);
    return on_rdtsc(uc, data);
}

EXPORT void *sandbox_callback(int which)
{
    switch (which) {
    case 0: return (void *)fill;
    case 1: return (void *)on_block;
    case 2: return (void *)on_syscall;
    case 3: return (void *)on_interrupt;
    case 4: return (void *)on_translation;
    case 5: return (void *)on_cpuid;
    case 6: return (void *)on_rdtsc;
    case 7: return (void *)on_rdtscp;
    default: return NULL;
    }
}

/* From another thread, to kill: a stop at any moment lands between the memory access of an instruction and the rest of
   it, so the guest cannot go on afterwards. It is lost when emu_start has not entered yet: repeat until run returns. */
EXPORT void sandbox_interrupt(struct engine *e)
{
    __atomic_store_n(&e->interrupted, 1, __ATOMIC_RELEASE);
    e->call->emu_stop(e->uc);
}

/* ---- the run loop -------------------------------------------------------------------------------------------- */

static pthread_mutex_t switch_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Park whatever is live in the engine and bring `c` in, also out of another engine. 0 or Unicorn's error. */
static int bring_in(struct engine *e, struct context *c)
{
    int error = 0;
    if (e->live == c)
        return 0;
    pthread_mutex_lock(&switch_mutex);
    if (e->live) {
        error = e->call->context_save(e->uc, e->live->saved);
        e->live->engine = NULL;
        e->live = NULL;
    }
    if (!error && c->engine) {
        error = e->call->context_save(c->engine->uc, c->saved);
        c->engine->live = NULL;
        c->engine = NULL;
    }
    if (!error)
        error = e->call->context_restore(e->uc, c->saved);
    if (!error) {
        c->engine = e;
        e->live = c;
    }
    pthread_mutex_unlock(&switch_mutex);
    return error;
}

/* Make `saved` the truth again; the engine no longer knows the context. */
EXPORT int sandbox_park(struct context *c)
{
    int error = 0;
    pthread_mutex_lock(&switch_mutex);
    if (c->engine) {
        error = c->engine->call->context_save(c->engine->uc, c->saved);
        c->engine->live = NULL;
        c->engine = NULL;
    }
    pthread_mutex_unlock(&switch_mutex);
    return error;
}

/* The context's registers are no longer wanted. */
EXPORT void sandbox_forget(struct context *c)
{
    pthread_mutex_lock(&switch_mutex);
    if (c->engine) {
        c->engine->live = NULL;
        c->engine = NULL;
    }
    pthread_mutex_unlock(&switch_mutex);
}

static void capture_syscall(struct engine *e)
{
    uint64_t values[7];
    int registers[7] = {(int)e->number_register};
    void *places[7] = {&values[0]};
    memset(values, 0, sizeof values);
    for (int i = 0; i < 6; i++) {
        registers[i + 1] = (int)e->argument_registers[i];
        places[i + 1] = &values[i + 1];
    }
    e->call->reg_read_batch(e->uc, registers, places, 7);
    e->number = values[0] & e->word_mask;
    for (int i = 0; i < 6; i++)
        e->arguments[i] = values[i + 1] & e->word_mask;
    if (e->sysret)
        leave_as_sysret(e, e->pc);
}

/* `count`: 0, or exactly so many instructions (slow: Unicorn adds a hook to each instruction). Returns the reason. */
EXPORT int64_t sandbox_run(struct engine *e, struct context *c, struct table *t, int64_t budget, uint64_t count)
{
    int error = bring_in(e, c);
    if (error) {
        e->reason = STOP_ERROR;
        e->error = (uint64_t)error;
        return STOP_ERROR;
    }
    e->table = t;
    if (e->loaded_identity != t->identity || e->loaded_epoch != t->epoch || t->engine != (uint64_t)(uintptr_t)e ||
        e->loaded_code_epoch != e->pool->code_epoch || e->fills_since_flush > 2 * e->tlb_entries) {
        flush(e); /* also the only time Unicorn lets its TLB grow */
        e->loaded_identity = t->identity;
        t->engine = (uint64_t)(uintptr_t)e;
        e->loaded_epoch = t->epoch;
        e->loaded_code_epoch = e->pool->code_epoch;
    }
    if (c->has_result) {
        e->call->reg_write(e->uc, (int)e->result_register, &c->result);
        c->has_result = 0;
    }
    e->out_of_memory = e->vector = e->error = 0;
    uint64_t pc = read_pc(e);
    e->skip = c->resume == pc;
    c->resume = ~(uint64_t)0;
    e->interrupted = 0;
    e->granted = e->left = e->exact ? budget : CHUNK;
    e->deadline = e->exact ? 0 : now() + budget;
    if (e->breaks_changed) {
        e->call->ctl(e->uc, CTL_WRITE_0(CTL_TB_FLUSH));
        set_exits(e);
        e->breaks_changed = 0;
    }
    for (;;) {
        e->reason = STOP_NONE;
        if (e->thumb)
            pc |= thumb_bit(e);
        uint64_t begun = pc & ~e->thumb;
        error = start(e, pc, count);
        pc = read_pc(e);
        if (stepped(e, count, begun, pc))
            break;
        if (e->reason == STOP_GUARD) {
            set_exits(e);
            continue;
        }
        if (e->breaks_count && !count && is_break(e, pc) && stopped_at_exit(e, pc, error)) {
            e->reason = STOP_BREAKPOINT;
            e->address = pc;
            break;
        }
        if (e->exits_count && (!count || pc == begun) && is_exit(e, pc) && stopped_at_exit(e, pc, error)) {
            e->reason = STOP_NONE;
            if (at_locked_bit(e, pc)) {
                e->reason = STOP_TRAP;
                e->vector = UNDEFINED_OPCODE;
                break;
            }
            error = pass_exit(e, pc);
            pc = read_pc(e);
            if (stepped(e, count, begun, pc))
                break;
            if (try_again(e, pc) || (e->reason == STOP_NONE && !error && !count))
                continue;
        }
        if (e->breaks_count && count && pc == begun && is_break(e, pc) && stopped_at_exit(e, pc, error)) {
            error = pass_exit(e, pc);
            pc = read_pc(e);
            if (stepped(e, count, begun, pc))
                break;
            if (try_again(e, pc))
                continue;
        }
        if (e->reason == STOP_FLIP) {
            if (resolve_flip(e, pc)) {
                e->skip |= e->flip_need != EXECUTE;
                if (e->left > -MOST_OVERDRAWN)
                    continue;
                e->reason = STOP_BUDGET; /* it may change sides for ever, but not us */
                break;
            }
            error = step_over(e, pc);
            pc = read_pc(e);
            if (stepped(e, count, begun, pc))
                break;
            if (try_again(e, pc))
                continue;
            if (e->reason == STOP_NONE && !error && !count) {
                e->skip = e->left > 0;
                continue;
            }
        }
        if (e->reason == STOP_ERROR) {
            if (e->error == KILLER_AVX)
                drop_translations(e, e->killer_frame); /* others that share the frame must be refused as well */
        } else if (e->reason == STOP_NONE) {
            if (error == UC_ERR_INSN_INVALID) {
                e->reason = STOP_TRAP;
                e->vector = 0xffff;
            } else if (error) {
                e->reason = STOP_ERROR;
                e->error = (uint64_t)error;
            } else if (count) {
                e->reason = STOP_BUDGET;
            } else if (__atomic_load_n(&e->interrupted, __ATOMIC_ACQUIRE)) {
                e->reason = STOP_ERROR;
                e->error = INTERRUPTED;
            } else {
                e->reason = STOP_HALT;
            }
        }
        break;
    }
    e->pc = pc;
    e->work = e->preemptible ? (uint64_t)(e->granted - e->left) : 0;
    t->work += e->work;
    if (e->reason == STOP_FAULT && (e->skip || e->access << 1 != EXECUTE))
        c->resume = pc; /* its block has been charged, whatever is fetched or loaded again first */
    else if (e->reason == STOP_SYSCALL)
        capture_syscall(e);
    return (int64_t)e->reason;
}
