/* A stand-in for workerd that tries to get out of its sandbox, and prints one line for each attempt: name, result.
   A result is 0 where the attempt succeeded, else the number of the error. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

static void opens(const char *name, const char *path, int flags) { say(name, open(path, flags, 0600)); }

static void connects(const char *name, int family, const void *address, socklen_t size) {
    int fd = socket(family, SOCK_STREAM, 0);
    say(name, fd < 0 ? fd : connect(fd, address, size));
}

int main(int count, char **arguments) {
    (void)count;
    extern char **environ;
    /* bubblewrap sets the working directory, and nothing else. */
    int variables = 0;
    for (char **variable = environ; *variable; variable++) variables += strcmp(*variable, "PWD=/") != 0;
    printf("environment %d\n", variables);
    opens("read /etc/passwd", "/etc/passwd", O_RDONLY);
    opens("read /root", "/root", O_RDONLY);
    opens("read /home", "/home", O_RDONLY);
    opens("read /tmp", "/tmp", O_RDONLY);
    opens("read the data directory", arguments[1], O_RDONLY);
    opens("read /sys", "/sys", O_RDONLY);
    opens("read memory of the machine", "/dev/mem", O_RDONLY);
    opens("read a process of the host", arguments[2], O_RDONLY);
    opens("write to /", "/file", O_WRONLY | O_CREAT);
    opens("write to a bound folder", "/egress/file", O_WRONLY | O_CREAT);
    say("change the program", chmod("/workerd", 0777));
    opens("write to shared memory", "/dev/shm/file", O_WRONLY | O_CREAT);
    opens("write to a kernel setting", "/proc/sys/kernel/hostname", O_WRONLY);
    say("unlink a socket", unlink("/egress/socket"));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(80)};
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un abstract = {.sun_family = AF_UNIX};
    memcpy(abstract.sun_path, "\0isolet-test", 12);
    connects("connect to 127.0.0.1", AF_INET, &four, sizeof four);
    connects("connect to ::1", AF_INET6, &six, sizeof six);
    connects("connect to an abstract socket", AF_UNIX, &abstract, sizeof(sa_family_t) + 12);
    say("raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    say("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    say("netlink socket", socket(AF_NETLINK, SOCK_RAW, 0));
    say("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    say("fork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, 0, 0));
    say("new namespaces", unshare(CLONE_NEWUSER | CLONE_NEWNS));
    say("mount", mount("none", "/proc", "tmpfs", 0, NULL));
    say("unmount", umount2("/proc", MNT_DETACH));
    say("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    say("chroot", chroot("/proc"));
    say("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
    say("bpf", syscall(SYS_bpf, 0, 0, 0));
    say("io_uring", syscall(SYS_io_uring_setup, 1, 0));
    say("perf events", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("setuid", setuid(0));
    say("sethostname", sethostname("x", 1));
    /* Its own pid is 1: every other number names nobody. */
    long seen = 0;
    for (int pid = 2; pid < 70000; pid++) seen += kill(pid, 0) == 0 || errno == EPERM;
    printf("processes of others %ld\n", seen);
    /* Beyond standard input, output, error: the pipes and the socket that it was given. */
    for (int fd = 3; fd < 256; fd++) {
        struct stat what;
        if (fstat(fd, &what) == 0 && (S_ISREG(what.st_mode) || S_ISDIR(what.st_mode))) printf("open file %d\n", fd);
    }
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp:", 8)
            || !strncmp(line, "Uid", 3))
            printf("status %s", line);
    puts("end");
    return 0;
}
