package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/fairlead/fairlead/e2e/lab"
)

// podRanges are the addresses of the lab's pods.
const podRanges = "10.244.0.0/16,fd00:10:244::/48"

// fairlead is the program under show, running on a node.
type fairlead struct {
	path    string
	node    *lab.Host
	process *lab.Process
	ending  atomic.Bool // it has been told to end
}

// findPrograms returns the full path of Fairlead, and tells whether the programs are there that it needs.
func findPrograms(program string) (string, error) {
	path, err := filepath.Abs(program)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return "", fmt.Errorf("find the program that --fairlead names: %w", err)
	}
	if len(savePrograms()) == 0 {
		return "", errors.New("iptables is not in PATH; install the package iptables")
	}
	return path, nil
}

// startFairlead starts it on the Services of a folder. Should it end before it is told to, it calls gone.
func startFairlead(node *lab.Host, path, manifests string, log *logBuffer, gone func(error)) (*fairlead, error) {
	// The limit on tracked connections is the whole machine's, and not the demo's to change.
	args := []string{"--manifests", manifests, "--hostname-override", node.Name, "--cluster-cidr", podRanges, "--conntrack-max-per-core", "0"}
	process, err := node.StartProcess(path, args, log)
	if err != nil {
		return nil, fmt.Errorf("start fairlead: %w", err)
	}
	f := &fairlead{path: path, node: node, process: process}
	go func() {
		if err := process.Wait(context.Background()); !f.ending.Load() {
			gone(fmt.Errorf("fairlead ended: %w", err))
		}
	}()
	return f, nil
}

// savePrograms are the programs that list the rules of either variant and family, as far as they are installed.
func savePrograms() []string {
	var found []string
	for _, variant := range []string{"nft", "legacy"} {
		for _, family := range []string{"iptables", "ip6tables"} {
			name := family + "-" + variant + "-save"
			if _, err := exec.LookPath(name); err == nil {
				found = append(found, name)
			}
		}
	}
	return found
}

// chains counts Fairlead's chains in each listing of the node's rules.
func (f *fairlead) chains(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	for _, program := range savePrograms() {
		out, err := f.node.Output(ctx, program)
		if err != nil {
			return nil, fmt.Errorf("list the rules: %w", err)
		}
		if n := strings.Count("\n"+out, "\n:FL-"); n > 0 {
			counts[program] = n
		}
	}
	return counts, nil
}

// stop tells it to end, and waits until it has.
func (f *fairlead) stop() error {
	f.ending.Store(true)
	if err := f.process.Stop(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop fairlead: %w", err)
	}
	return nil
}

// cleanup runs its subcommand that removes all rules.
func (f *fairlead) cleanup(ctx context.Context) error {
	if _, err := f.node.Output(ctx, f.path, "cleanup"); err != nil {
		return fmt.Errorf("run fairlead cleanup: %w", err)
	}
	return nil
}

// logBuffer collects what a program says.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
