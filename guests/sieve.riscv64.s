# arch: riscv64
# purpose: The sieve of Eratosthenes over a table in memory: integer work with many stores.
# args: none
# stdin: not read
# stdout: how many primes there are below 100000
# status: 0
# test: stdout="9592\n"

        .equ    LIMIT, 100000

_start:
        la      s0, composite
        li      s1, LIMIT
        li      s2, 2                   // candidate
        li      s3, 0                   // primes found
        li      s4, 1
candidate:
        add     t0, s0, s2
        lbu     t1, 0(t0)
        bnez    t1, not_prime
        addi    s3, s3, 1
        mul     t2, s2, s2
strike:
        bgeu    t2, s1, not_prime
        add     t0, s0, t2
        sb      s4, 0(t0)
        add     t2, t2, s2
        j       strike
not_prime:
        addi    s2, s2, 1
        bltu    s2, s1, candidate
        mv      a0, s3
        call    print_number
        li      a7, 94
        li      a0, 0
        ecall

print_number:                           // a0: the number; a newline follows
        addi    sp, sp, -48
        addi    a1, sp, 47
        li      t1, 10
        sb      t1, 0(a1)
        li      t0, 10
digit:
        remu    t1, a0, t0
        divu    a0, a0, t0
        addi    t1, t1, 48
        addi    a1, a1, -1
        sb      t1, 0(a1)
        bnez    a0, digit
        addi    a2, sp, 48
        sub     a2, a2, a1
        li      a7, 64
        li      a0, 1
        ecall
        addi    sp, sp, 48
        ret

# data
composite:
        .space  LIMIT
