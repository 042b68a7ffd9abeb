# arch: arm
# purpose: The sieve of Eratosthenes over a table in memory: integer work with many stores.
# args: none
# stdin: not read
# stdout: how many primes there are below 100000
# status: 0
# test: stdout="9592\n"

        .equ    LIMIT, 100000

_start:
        ldr     r4, =composite
        ldr     r5, =LIMIT
        mov     r6, #2                  // candidate
        mov     r8, #0                  // primes found
        mov     r9, #1
candidate:
        ldrb    r0, [r4, r6]
        cmp     r0, #0
        bne     not_prime
        add     r8, r8, #1
        umull   r1, r2, r6, r6
        cmp     r2, #0
        bne     not_prime
strike:
        cmp     r1, r5
        strblo  r9, [r4, r1]
        addlo   r1, r1, r6
        blo     strike
not_prime:
        add     r6, r6, #1
        cmp     r6, r5
        blo     candidate
        mov     r0, r8
        bl      print_number
        mov     r7, #248
        mov     r0, #0
        svc     #0

print_number:                           // r0: the number; a newline follows
        sub     sp, sp, #40
        add     r1, sp, #31
        mov     r2, #10
        strb    r2, [r1]
        mov     r3, #10
digit:
        udiv    r2, r0, r3
        mls     r7, r2, r3, r0
        add     r7, r7, #48
        strb    r7, [r1, #-1]!
        movs    r0, r2
        bne     digit
        add     r2, sp, #32
        sub     r2, r2, r1
        mov     r7, #4
        mov     r0, #1
        svc     #0
        add     sp, sp, #40
        bx      lr

# data
composite:
        .space  LIMIT
