package bench

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// BenchmarkConnect opens TCP connections from one pod of the node to another: through the last of many services, through the
// only one, and through the last of many in kube-proxy's rules. Each turn opens one of each.
func BenchmarkConnect(b *testing.B) {
	for _, size := range []struct {
		variant  xtables.Variant
		services int
	}{
		{xtables.Legacy, 10000},
		{xtables.NFT, 1000},
		{xtables.NFT, 10000},
	} {
		b.Run(fmt.Sprintf("%s/services=%d", size.variant, size.services), func(b *testing.B) {
			benchmarkConnect(b, size.variant, size.services)
		})
	}
}

func benchmarkConnect(b *testing.B, variant xtables.Variant, services int) {
	last := services - 1
	load := func(l *lab.Lab, c Cluster) { newOurs(l, variant, c).sync(b, true) }
	only := newPath(b, services, endpointsEach, func(l *lab.Lab, c Cluster) { load(l, c[last:]) })
	many := newPath(b, services, endpointsEach, load)
	paths := []*path{only, many}
	var kubeProxy *path
	if variant == xtables.Legacy || services <= mostNFT {
		kubeProxy = newPath(b, services, endpointsEach, func(l *lab.Lab, c Cluster) {
			if _, done := newTheirs(b, l, variant).restore(b, Full(c)); !done {
				b.Fatalf("kube-proxy's rules took more than %v to load: raise -limit", *limit)
			}
		})
		paths = append(paths, kubeProxy)
	}
	for range 100 { // until caches and neighbour tables are warm
		turn(b, paths)
	}
	for _, p := range paths {
		p.took = nil
	}
	for b.Loop() {
		turn(b, paths)
		paths = append(paths[1:], paths[0]) // so that none is always first
	}
	b.ReportMetric(0, "ns/op")
	report(b, "only", only)
	report(b, "last", many)
	b.ReportMetric(float64(least(many))/float64(least(only)), "last/only-min")
	b.ReportMetric(float64(median(many.took))/float64(median(only.took)), "last/only-median")
	if kubeProxy != nil {
		report(b, "kube-proxy", kubeProxy)
		b.ReportMetric(float64(least(kubeProxy))/float64(least(many)), "kube-proxy/last-min")
		b.ReportMetric(float64(median(kubeProxy.took))/float64(median(many.took)), "kube-proxy/last-median")
	}
}

// BenchmarkConnectLarge opens TCP connections through a Service with 5 endpoints and one with 5,000, in turn.
func BenchmarkConnectLarge(b *testing.B) {
	for _, variant := range []xtables.Variant{xtables.Legacy, xtables.NFT} {
		b.Run(string(variant), func(b *testing.B) {
			load := func(l *lab.Lab, c Cluster) { newOurs(l, variant, c).sync(b, true) }
			few, many := newPath(b, 1, 5, load), newPath(b, 1, 5000, load)
			paths := []*path{few, many}
			for range 100 {
				turn(b, paths)
			}
			few.took, many.took = nil, nil
			for b.Loop() {
				turn(b, paths)
			}
			b.ReportMetric(0, "ns/op")
			report(b, "5-endpoints", few)
			report(b, "5000-endpoints", many)
			b.ReportMetric(float64(median(many.took))/float64(median(few.took)), "5000/5-median")
			b.ReportMetric(float64(least(many))/float64(least(few)), "5000/5-min")
		})
	}
}

func turn(b *testing.B, paths []*path) {
	b.Helper()
	for _, p := range paths {
		if err := p.connect(); err != nil {
			b.Fatal(err)
		}
	}
}

func report(b *testing.B, name string, p *path) {
	b.ReportMetric(microseconds(least(p)), name+"-min-µs")
	b.ReportMetric(microseconds(median(p.took)), name+"-median-µs")
}

func least(p *path) time.Duration { return slices.Min(p.took) }

// path is a way from a pod through the rules of its node to another pod of the node.
type path struct {
	client *lab.Host
	to     unix.SockaddrInet4
	took   []time.Duration
}

// newPath makes a lab, loads rules for a cluster into its node, and returns the path through the last service of the
// cluster, which is the only one with endpoints that answer, so many of them.
func newPath(b *testing.B, services, endpoints int, load func(*lab.Lab, Cluster)) *path {
	b.Helper()
	l, end := newLab(b)
	b.Cleanup(end)
	client, server := newPod(b, l, "client"), newPod(b, l, "server")
	addresses, err := l.AddAddresses(server, endpoints)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := server.Listen("tcp4", ":8080")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go accept(listener)
	c := NewCluster(services, endpointsEach)
	last := &c[len(c)-1]
	last.Endpoints = nil
	for _, a := range addresses {
		last.Endpoints = append(last.Endpoints, Endpoint{netip.AddrPortFrom(a.IPv4, 8080), Node})
	}
	load(l, c)
	return &path{client: client, to: unix.SockaddrInet4{Addr: last.Address.Addr().As4(), Port: int(last.Address.Port())}}
}

func newPod(b *testing.B, l *lab.Lab, name string) *lab.Host {
	b.Helper()
	pod, err := l.Pod(l.Nodes[0], name)
	if err != nil {
		b.Fatal(err)
	}
	return pod
}

// accept only keeps the listener's queue empty: the kernel answers before it gets to know of a connection.
func accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

// connect opens one connection and drops it.
func (p *path) connect() error {
	var socket int
	err := p.client.Do(func() (err error) {
		socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	// It ends with a reset, or thousands in a row would run out of ports.
	if err := unix.SetsockoptLinger(socket, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	start := time.Now()
	if err := unix.Connect(socket, &p.to); err != nil {
		return err
	}
	p.took = append(p.took, time.Since(start))
	return nil
}
