package kubeproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/config"
)

// ports are those that a kube-proxy listens on unless its configuration says otherwise: for health checks and for metrics.
var ports = []uint16{config.HealthzPort, config.MetricsPort}

// Listening returns one of kube-proxy's ports on which another process of this network namespace listens, or 0. Fairlead has the same
// ports by default; its own sockets do not count.
func Listening() (uint16, error) { return listening(ownSockets) }

func listening(ownSockets func() map[string]bool) (uint16, error) {
	var own map[string]bool
	for _, file := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/thread-self/net/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return 0, fmt.Errorf("look for a running kube-proxy: %w", err)
		}
		found, err := listeners(f)
		f.Close()
		if err != nil {
			return 0, fmt.Errorf("look for a running kube-proxy: %w", err)
		}
		for _, l := range found {
			if !slices.Contains(ports, l.port) {
				continue
			}
			if own == nil {
				own = ownSockets()
			}
			if !own[l.inode] {
				return l.port, nil
			}
		}
	}
	return 0, nil
}

type listener struct {
	port  uint16
	inode string
}

// listeners reads the listening sockets at the head of /proc/net/tcp, which come before all others.
func listeners(from io.Reader) ([]listener, error) {
	const (
		local, state, inode = 1, 3, 9 // fields
		listening           = "0A"
	)
	var list []listener
	lines := bufio.NewScanner(from)
	lines.Scan() // the head
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inode || fields[state] != listening {
			break
		}
		_, hex, _ := strings.Cut(fields[local], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("read the port %q: %w", fields[local], err)
		}
		list = append(list, listener{uint16(port), fields[inode]})
	}
	return list, lines.Err()
}

// ownSockets are the inodes of this process's.
func ownSockets() map[string]bool {
	own := map[string]bool{}
	files, _ := filepath.Glob("/proc/self/fd/*") // fails on a bad pattern only
	for _, file := range files {
		to, err := os.Readlink(file)
		if err != nil {
			continue // closed meanwhile
		}
		if inode, is := strings.CutPrefix(to, "socket:["); is {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return own
}
