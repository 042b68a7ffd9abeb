# arch: arm64
# purpose: The sieve of Eratosthenes over a table in memory: integer work with many stores.
# args: none
# stdin: not read
# stdout: how many primes there are below 100000
# status: 0
# test: stdout="9592\n"

        .equ    LIMIT, 100000

_start:
        ldr     x19, =composite
        ldr     x20, =LIMIT
        mov     x21, #2                 // candidate
        mov     x22, #0                 // primes found
        mov     w23, #1
candidate:
        ldrb    w0, [x19, x21]
        cbnz    w0, not_prime
        add     x22, x22, #1
        mul     x1, x21, x21
strike:
        cmp     x1, x20
        b.hs    not_prime
        strb    w23, [x19, x1]
        add     x1, x1, x21
        b       strike
not_prime:
        add     x21, x21, #1
        cmp     x21, x20
        b.lo    candidate
        mov     x0, x22
        bl      print_number
        mov     x8, #94
        mov     x0, #0
        svc     #0

print_number:                           // x0: the number; a newline follows
        sub     sp, sp, #48
        add     x1, sp, #47
        mov     w2, #10
        strb    w2, [x1]
        mov     x3, #10
digit:
        udiv    x4, x0, x3
        msub    x5, x4, x3, x0
        add     w5, w5, #48
        strb    w5, [x1, #-1]!
        mov     x0, x4
        cbnz    x0, digit
        add     x2, sp, #48
        sub     x2, x2, x1
        mov     x8, #64
        mov     x0, #1
        svc     #0
        add     sp, sp, #48
        ret

# data
composite:
        .space  LIMIT
