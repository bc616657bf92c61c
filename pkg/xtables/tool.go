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
	rules         *goiptables.IPTables
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
	var err error
	t.rules, err = goiptables.New(goiptables.IPFamily(proto), goiptables.Path(paths[2]), goiptables.Timeout(int(lockWait.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[2], err)
	}
	return t, nil
}

// Variant implements Kernel.
func (t *tool) Variant() Variant { return t.variant }

// RandomFully implements Kernel.
func (t *tool) RandomFully() bool { return t.rules.HasRandomFully() }

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
	cmd := exec.CommandContext(ctx, t.save, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := cmd.Run(); err != nil {
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
	cmd := exec.CommandContext(ctx, t.restore, "--noflush", "-w", strconv.Itoa(int(lockWait.Seconds())))
	var output bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &output, &output
	err = cmd.Run()
	if err == nil {
		return nil
	}
	said := strings.Join(strings.Fields(output.String()), " ") // one line
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitLocked && strings.Contains(said, "xtables lock") {
		return fmt.Errorf("%w for %s; find it with 'fuser -v /run/xtables.lock'", ErrLocked, lockWait)
	}
	err = fmt.Errorf("%s: %w: %s", t.restore, err, said)
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
	has, err := t.rules.Exists(j.Table, j.From, strings.Fields(j.rule())...)
	if err != nil {
		return false, fmt.Errorf("look for the jump to %s from %s %s: %w", j.To, j.Table, j.From, lockError(err))
	}
	return has, nil
}

// Delete implements Kernel.
func (t *tool) Delete(j Jump) error {
	if err := t.rules.Delete(j.Table, j.From, strings.Fields(j.rule())...); err != nil {
		return fmt.Errorf("delete the jump to %s from %s %s: %w", j.To, j.Table, j.From, lockError(err))
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
