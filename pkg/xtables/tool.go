package xtables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	goiptables "github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/pkg/service"
)

// lockWait is how long a command waits for the xtables lock, which legacy iptables has one of on each machine.
const lockWait = 5 * time.Second

// exitLocked is the exit status of the legacy programs when they did not get the lock (RESOURCE_PROBLEM in xtables.h).
const exitLocked = 4

// ErrLocked says that another program held the xtables lock all the time.
var ErrLocked = errors.New("another program holds the xtables lock")

// tool is a Kernel by one variant of the iptables programs.
type tool struct {
	family        service.Family
	variant       Variant
	save, restore string // paths
	program       string // that of iptables itself
	randomFully   bool
}

// Open finds the programs of a variant. With Auto, or none, it finds out first which variant is in use.
func Open(ctx context.Context, f service.Family, v Variant) (Kernel, error) {
	if v == "" || v == Auto {
		var err error
		if v, err = detect(ctx); err != nil {
			return nil, err
		}
	}
	t, err := newTool(f, v)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func newTool(f service.Family, v Variant) (*tool, error) {
	t := &tool{family: f, variant: v}
	var paths [3]string
	for i, action := range []string{"save", "restore", ""} {
		var err error
		if paths[i], err = program(f, v, action); err != nil {
			return nil, err
		}
	}
	if v == NFT {
		_, err := generation()
		if err := nftUsable(err); err != nil {
			return nil, err
		}
	}
	t.save, t.restore = paths[0], paths[1]
	proto := goiptables.ProtocolIPv4
	if f == service.IPv6 {
		proto = goiptables.ProtocolIPv6
	}
	t.program = paths[2]
	rules, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Path(paths[2]), goiptables.Timeout(int(lockWait.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[2], err)
	}
	t.randomFully = rules.HasRandomFully()
	return t, nil
}

// Variant implements Kernel.
func (t *tool) Variant() Variant { return t.variant }

// RandomFully implements Kernel.
func (t *tool) RandomFully() bool { return t.randomFully }

// Stamp implements Kernel.
func (t *tool) Stamp(context.Context) (Stamp, error) {
	if t.variant == NFT {
		return generation()
	}
	return tableInfos(t.family)
}

// Save implements Kernel.
func (t *tool) Save(ctx context.Context, out io.Writer) error { return t.print(ctx, out) }

// SaveCounters implements Kernel.
func (t *tool) SaveCounters(ctx context.Context, out io.Writer) error { return t.print(ctx, out, "-c") }

func (t *tool) print(ctx context.Context, out io.Writer, args ...string) error {
	var stderr bytes.Buffer
	err := run(ctx, programLimit, t.save, args, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = out, &stderr })
	if err != nil {
		return fmt.Errorf("%s: %w: %s", t.save, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// Restore implements Kernel.
func (t *tool) Restore(ctx context.Context, text []byte) error {
	input, err := memoryFile(text)
	if err != nil {
		return fmt.Errorf("hand the rules to %s: %w", t.restore, err)
	}
	defer input.Close()
	var output bytes.Buffer
	err = run(ctx, programLimit, t.restore, []string{"--noflush", "-w", strconv.Itoa(int(lockWait.Seconds()))}, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &output, &output
	})
	if err == nil {
		return nil
	}
	said := strings.Join(strings.Fields(output.String()), " ") // one line
	if locked(err, said) {
		return errLockedAllTheTime
	}
	refused := refusesRules(err, said)
	err = fmt.Errorf("%s: %w: %s", t.restore, err, said)
	if refused {
		err = NewRefusal(err)
	}
	if at := failedLine.FindStringSubmatch(said); at != nil {
		if line, notNumber := strconv.Atoi(at[1]); notNumber == nil {
			return NewLineError(line, err)
		}
	}
	return err
}

// failedLine finds the number of a line in what iptables-restore says: "line 4: RULE_APPEND failed (No such file or directory)" (nft),
// "Error occurred at line: 4" (both), "iptables-restore: line 5 failed" (legacy).
var failedLine = regexp.MustCompile(`\bline:? ([0-9]+)\b`)

// The exit statuses with which iptables-restore refuses a rule: legacy has 1 where the kernel does not take a table, both variants have 2
// where they do not know a match, a target or a chain. Where the kernel refuses a transaction, nft has 4, as for a lack of resources.
const (
	exitOther   = 1
	exitBadRule = 2
)

var (
	// ruleFailed finds the rule or the chain that the kernel refuses in what iptables-nft-restore says.
	ruleFailed = regexp.MustCompile(`\b(RULE|CHAIN)_[A-Z_]+ failed \(`)
	// scarce finds what has nothing to do with the rules: EAGAIN, ENOMEM, ENOBUFS, EMFILE, ENFILE, EBUSY, EINTR, EPERM, EACCES.
	scarce = regexp.MustCompile(`(?i)temporarily unavailable|cannot allocate memory|memory allocation|no buffer space|too many open files|resource busy|` +
		`interrupted system call|operation not permitted|permission denied|read-only file system`)
)

// refusesRules reports whether iptables-restore failed as a rule is refused: it has ended by itself, and what it says is about the rules.
func refusesRules(err error, said string) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Exited() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || scarce.MatchString(said) {
		return false
	}
	switch exit.ExitCode() {
	case exitOther, exitBadRule:
		return true
	case exitLocked:
		return ruleFailed.MatchString(said)
	}
	return false
}

// memoryFile is a file with a text, in memory only. A program reads it faster than a pipe.
func memoryFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("rules", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "rules")
	if _, err := file.Write(text); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Has implements Kernel.
func (t *tool) Has(j Jump) (bool, error) {
	err := t.command("-C", j)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the jump to %s from %s %s: %w", j.To, j.Table, j.From, err)
	}
	return true, nil
}

// Delete implements Kernel.
func (t *tool) Delete(j Jump) error {
	if err := t.command("-D", j); err != nil {
		return fmt.Errorf("delete the jump to %s from %s %s: %w", j.To, j.Table, j.From, err)
	}
	return nil
}

// command runs iptables with an action for a jump.
func (t *tool) command(action string, j Jump) error {
	args := append([]string{"-w", strconv.Itoa(int(lockWait.Seconds())), "-t", j.Table, action, j.From}, strings.Fields(j.rule())...)
	var output bytes.Buffer
	err := run(context.Background(), programLimit, t.program, args, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = &output, &output })
	if err == nil {
		return nil
	}
	said := strings.Join(strings.Fields(output.String()), " ")
	if locked(err, said) {
		return errLockedAllTheTime
	}
	return fmt.Errorf("%s: %w: %s", t.program, err, said)
}

var errLockedAllTheTime = fmt.Errorf("%w for %s; find it with 'fuser -v /run/xtables.lock'", ErrLocked, lockWait)

// locked reports whether a program of legacy iptables failed as another one held the lock all the time. Its exit status is the same where it
// cannot open the lock's file, on a read-only /run.
func locked(err error, said string) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == exitLocked && strings.Contains(said, "holding the xtables lock")
}
