package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	routeLocalnet = "proc/sys/net/ipv4/conf/all/route_localnet"
	tcpBeLiberal  = "proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
)

// AllowLoopbackRouting lets packets from 127.0.0.1 leave the node, which they do when it reaches a node port through that
// address and the endpoint is elsewhere (net.ipv4.conf.all.route_localnet=1). By itself this also lets neighbours in to
// what listens on 127.0.0.1 alone (CVE-2020-8558), so a rule against that has to stand before it is called.
func AllowLoopbackRouting() error { return allowLoopbackRouting("/") }

func allowLoopbackRouting(root string) error {
	file := filepath.Join(root, routeLocalnet)
	// What is set already need not be written: an unprivileged container cannot, and its init container may have.
	if set, err := loopbackRouting(root); err != nil || set {
		return err
	}
	if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
		return loopbackRoutingError(err)
	}
	return nil
}

// CanAllowLoopbackRouting returns the error that AllowLoopbackRouting would return, without writing anything.
func CanAllowLoopbackRouting() error { return canAllowLoopbackRouting("/") }

func canAllowLoopbackRouting(root string) error {
	file, err := os.OpenFile(filepath.Join(root, routeLocalnet), os.O_WRONLY, 0)
	if err != nil {
		return loopbackRoutingError(err)
	}
	return file.Close()
}

// ForbidLoopbackRouting is the opposite of AllowLoopbackRouting.
func ForbidLoopbackRouting() error { return forbidLoopbackRouting("/") }

func forbidLoopbackRouting(root string) error {
	if err := os.WriteFile(filepath.Join(root, routeLocalnet), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("%w; set net.ipv4.conf.all.route_localnet=0 on the host", err)
	}
	return nil
}

func loopbackRoutingError(err error) error {
	return fmt.Errorf("node ports on 127.0.0.1: %w; set net.ipv4.conf.all.route_localnet=1 on the host or in a privileged init container, or turn these node ports off", err)
}

// LoopbackRouting reports whether packets from 127.0.0.1 can leave the node.
func LoopbackRouting() (bool, error) { return loopbackRouting("/") }

func loopbackRouting(root string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(root, routeLocalnet))
	if err != nil {
		return false, fmt.Errorf("node ports on 127.0.0.1: %w", err)
	}
	return strings.TrimSpace(string(text)) == "1", nil
}

// TCPBeLiberal reports whether connection tracking lets TCP packets pass that are out of a connection's window
// (net.netfilter.nf_conntrack_tcp_be_liberal). Where it does not, it calls them invalid.
func TCPBeLiberal() (bool, error) { return readTCPBeLiberal("/") }

func readTCPBeLiberal(root string) (bool, error) {
	file := filepath.Join(root, tcpBeLiberal)
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("%w; load the module nf_conntrack", err)
	}
	if err != nil {
		return false, err
	}
	switch value := strings.TrimSpace(string(text)); value {
	case "0":
		return false, nil
	case "1":
		return true, nil
	default:
		return false, fmt.Errorf("%s: %q is neither 0 nor 1", file, value)
	}
}
