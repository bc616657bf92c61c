package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// tool is one variant of the iptables programs, for one family.
type tool struct {
	variant       Variant
	save, restore string // paths
	rules         *goiptables.IPTables
}

func newTool(ctx context.Context, f service.Family, v Variant) (*tool, error) {
	if v == "" || v == Auto {
		var err error
		if v, err = detect(ctx); err != nil {
			return nil, err
		}
	}
	t := &tool{variant: v}
	var paths [3]string
	for i, action := range []string{"save", "restore", ""} {
		var err error
		if paths[i], err = program(f, v, action); err != nil {
			return nil, err
		}
	}
	t.save, t.restore = paths[0], paths[1]
	proto := goiptables.ProtocolIPv4
	if f == service.IPv6 {
		proto = goiptables.ProtocolIPv6
	}
	var err error
	t.rules, err = goiptables.New(goiptables.IPFamily(proto), goiptables.Path(paths[2]), goiptables.Timeout(int(lockWait.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[2], err)
	}
	return t, nil
}

// Variant is the variant that the tool is of.
func (t *tool) Variant() Variant { return t.variant }

// RandomFully reports whether MASQUERADE can choose ports at random, which keeps two connections made at the same moment
// from getting the same one and losing a packet (kubernetes#56903).
func (t *tool) RandomFully() bool { return t.rules.HasRandomFully() }

// Save writes all rules of all tables, as iptables-save prints them, to out.
func (t *tool) Save(ctx context.Context, out io.Writer) error {
	cmd := exec.CommandContext(ctx, t.save)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", t.save, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// Restore applies text. Each table in it changes at once or not at all.
func (t *tool) Restore(ctx context.Context, text []byte) error {
	input, err := memoryFile(text)
	if err != nil {
		return fmt.Errorf("hand the rules to %s: %w", t.restore, err)
	}
	defer input.Close()
	cmd := exec.CommandContext(ctx, t.restore, "--noflush", "-w", strconv.Itoa(int(lockWait.Seconds())))
	var output bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &output, &output
	err = cmd.Run()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(output.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitLocked && strings.Contains(said, "xtables lock") {
		return fmt.Errorf("%w for %s; find it with 'fuser -v /run/xtables.lock'", ErrLocked, lockWait)
	}
	return fmt.Errorf("%s: %w: %s", t.restore, err, said)
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

// Delete takes a jump out again.
func (t *tool) Delete(j jump) error {
	if err := t.rules.Delete(j.table, j.from, j.spec()...); err != nil {
		return fmt.Errorf("delete the jump to %s from %s %s: %w", j.to, j.table, j.from, lockError(err))
	}
	return nil
}

func lockError(err error) error {
	var failed *goiptables.Error
	if errors.As(err, &failed) && failed.ExitStatus() == exitLocked {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}

func (j jump) spec() []string { return append(append([]string(nil), j.match...), "-j", j.to) }

// line is the jump as iptables-save prints it.
func (j jump) line() string { return "-A " + j.from + " " + strings.Join(j.spec(), " ") }
