/* Sessions and process groups, and the terminal that they share. */
#include "check.h"

#include <stdlib.h>
#include <termios.h>

FAMILY("session");

static int master, slave;

static void terminal(void)
{
    master = OK(posix_openpt(O_RDWR | O_NOCTTY));
    OK(grantpt(master));
    OK(unlockpt(master));
    slave = OK(open(ptsname(master), O_RDWR | O_NOCTTY));
}

static void mode(tcflag_t off, tcflag_t input_off, tcflag_t output_off)
{
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    modes.c_lflag &= ~off;
    modes.c_iflag &= ~input_off;
    modes.c_oflag &= ~output_off;
    OK(tcsetattr(slave, TCSANOW, &modes));
}

static void type(const char *text)
{
    IS(write(master, text, strlen(text)), strlen(text));
}

/* In a child that leads a session with the terminal. */
static void in_session(void (*body)(void))
{
    terminal();
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(setsid());
        OK(ioctl(slave, TIOCSCTTY, 0));
        body();
        _exit(0);
    }
    IS(ended(pid), 0);
}

static void look_at_session(void)
{
    IS(tcgetsid(slave), getpid());
    IS(tcgetpgrp(slave), getpid());
    int own = OK(open("/dev/tty", O_RDWR));
    IS(tcgetpgrp(own), getpid());
    FAILS(tcsetpgrp(slave, 1), EPERM);
    FAILS(tcsetpgrp(slave, -1), EINVAL);
}

CHECK(controlling_terminals)
{
    in_session(look_at_session);
    FAILS(tcgetsid(slave), ENOTTY);
    OK(setpgid(0, 0));
    pid_t pid = OK(fork());
    if (pid == 0) {
        OK(setsid());
        FAILS(open("/dev/tty", O_RDWR), ENXIO);
        _exit(0);
    }
    IS(ended(pid), 0);
}

static void interrupt_self(void)
{
    on(SIGINT, note, 0);
    on(SIGQUIT, note, 0);
    type("\003");
    while (notes < 1)
        sched_yield();
    type("\034");
    while (notes < 2)
        sched_yield();
    IS(noted[0], SIGINT);
    IS(noted[1], SIGQUIT);
    on(SIGWINCH, note, 0);
    struct winsize size = {7, 8, 0, 0};
    OK(ioctl(master, TIOCSWINSZ, &size));
    IS(noted[2], SIGWINCH);
}

CHECK(keys_are_signals)
{
    in_session(interrupt_self);
}

static void from_behind(void)
{
    int status;
    pid_t pid = OK(fork());
    if (pid == 0) {
        char byte;
        OK(setpgid(0, 0));
        OK(read(slave, &byte, 1));
        _exit(0);
    }
    IS(waitpid(pid, &status, WUNTRACED), pid);
    TRUE(WIFSTOPPED(status));
    IS(WSTOPSIG(status), SIGTTIN);
    on(SIGTTOU, SIG_IGN, 0);
    OK(tcsetpgrp(slave, pid));
    type("x\n");
    OK(kill(-pid, SIGCONT));
    IS(ended(pid), 0);
    OK(tcsetpgrp(slave, getpid()));
    on(SIGTTOU, SIG_DFL, 0);
    mode(0, 0, 0);
    struct termios modes;
    OK(tcgetattr(slave, &modes));
    modes.c_lflag |= TOSTOP;
    OK(tcsetattr(slave, TCSANOW, &modes));
    pid = OK(fork());
    if (pid == 0) {
        OK(setpgid(0, 0));
        write(slave, "x", 1);
        _exit(0);
    }
    IS(waitpid(pid, &status, WUNTRACED), pid);
    IS(WSTOPSIG(status), SIGTTOU);
    OK(kill(-pid, SIGKILL));
    IS(ended(pid), 128 + SIGKILL);
}

CHECK(background_groups_stop)
{
    in_session(from_behind);
}

static void orphan_reads(void)
{
    on(SIGTTIN, SIG_IGN, 0);
    pid_t pid = OK(fork());
    if (pid == 0) {
        char byte;
        OK(setpgid(0, 0));
        FAILS(read(slave, &byte, 1), EIO);
        _exit(0);
    }
    IS(ended(pid), 0);
}

CHECK(those_who_ignore_stops_fail)
{
    in_session(orphan_reads);
}

static void hang_up(void)
{
    on(SIGHUP, note, 0);
    on(SIGCONT, note, 0);
    OK(ioctl(slave, TIOCNOTTY));
    TRUE(notes >= 1);
    FAILS(open("/dev/tty", O_RDWR), ENXIO);
}

CHECK(giving_up_the_terminal)
{
    in_session(hang_up);
}
