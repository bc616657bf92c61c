package ipvsbench

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/e2e/bench"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/listwatch"
	"github.com/fairlead/fairlead/e2e/site"
)

// rig is a lab with one node, which a proxy runs on, and a server of objects.
type rig struct {
	b       *testing.B
	lab     *lab.Lab
	node    *lab.Host
	client  *lab.Host // a pod of the node
	kernel  *kernel
	cluster bench.Cluster
	objects *listwatch.Server
	server  *http.Server // of the objects
	address string       // of the server

	log     site.Log
	process *lab.Process
	started time.Time
	changes int // made so far
}

// newRig makes a lab whose server has a cluster. The endpoints of the last Service are a pod that answers.
func newRig(b *testing.B, c bench.Cluster) *rig {
	b.Helper()
	l, err := lab.New(lab.Options{Nodes: 1})
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{b: b, lab: l, node: l.Nodes[0], cluster: c}
	b.Cleanup(r.close)
	if r.kernel, err = openKernel(r.node); err != nil {
		b.Fatal(err)
	}
	if r.client, err = l.Pod(r.node, "client"); err != nil {
		b.Fatal(err)
	}
	if err := r.answer(&c[len(c)-1]); err != nil {
		b.Fatal(err)
	}
	if err := r.serve(); err != nil {
		b.Fatal(err)
	}
	return r
}

// close is also for a rig that was not finished, or is closed already.
func (r *rig) close() {
	if r.kernel != nil {
		r.kernel.close()
		r.kernel = nil
	}
	if r.server != nil {
		r.server.Close()
	}
	if err := r.lab.Close(); err != nil {
		r.b.Error(err)
	}
	if r.b.Failed() {
		r.b.Logf("the proxy said:\n%s", r.log.String())
	}
}

// answer makes a pod of the node the endpoints of a Service.
func (r *rig) answer(s *bench.Service) error {
	pod, err := r.lab.Pod(r.node, "server")
	if err != nil {
		return err
	}
	addresses, err := r.lab.AddAddresses(pod, len(s.Endpoints))
	if err != nil {
		return err
	}
	for i, a := range addresses {
		s.Endpoints[i] = bench.Endpoint{Address: netip.AddrPortFrom(a.IPv4, 8080), Node: bench.Node}
	}
	_, err = pod.ServeTCP(lab.Wildcard(lab.IPv4, 8080))
	return err
}

// serve offers the objects at the backbone.
func (r *rig) serve() error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: bench.Node, Labels: map[string]string{corev1.LabelHostname: bench.Node}}}
	for _, f := range lab.Families {
		node.Status.Addresses = append(node.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: r.node.Address(f).String()})
	}
	r.objects = listwatch.New(node)
	for i := range r.cluster {
		svc, slice := r.cluster[i].Objects()
		r.objects.Set(svc)
		r.objects.Set(slice)
	}
	listener, err := r.lab.Backbone.Listen("tcp", netip.AddrPortFrom(r.lab.Backbone.IPv4, 0).String())
	if err != nil {
		return err
	}
	r.address = "http://" + listener.Addr().String()
	r.server = &http.Server{Handler: r.objects, ReadHeaderTimeout: time.Minute}
	go r.server.Serve(listener)
	return nil
}

// start starts a proxy on the node.
func (r *rig) start(p proxy) {
	r.b.Helper()
	program, err := p.program()
	if err != nil {
		r.b.Fatal(err)
	}
	programs := r.b.TempDir()
	if err := site.LinkIPTables(programs, variant); err != nil {
		r.b.Fatal(err)
	}
	// env becomes the program, so that this is the process to measure.
	args := slices.Concat([]string{"PATH=" + programs + ":" + os.Getenv("PATH"), program}, common(r.address), p.arguments)
	r.started = time.Now()
	if r.process, err = r.node.StartProcess("env", args, &r.log); err != nil {
		r.b.Fatal(err)
	}
}

// stop does not ask the proxy to clean up: the namespace goes with all that is in it.
func (r *rig) stop() {
	r.b.Helper()
	if err := r.process.Stop(syscall.SIGKILL); err == nil {
		r.b.Error("the proxy ended well, though it was killed")
	}
	r.close()
}

// awaitLoaded waits until the kernel has every virtual server with its real servers, and says how long it took from the start. It
// looks at one virtual server at a time, and never again at one that is complete: to list all of them takes long enough to disturb.
func (r *rig) awaitLoaded() time.Duration {
	r.b.Helper()
	for i := range r.cluster {
		r.awaitDestinations(&r.cluster[i], r.started, 20*time.Millisecond)
	}
	took := time.Since(r.started)
	got, err := r.kernel.count()
	if err != nil {
		r.b.Fatal(err)
	}
	if want := (count{virtual: len(r.cluster), real: len(r.cluster) * endpointsEach}); got != want {
		r.b.Fatalf("the kernel has %+v, want %+v", got, want)
	}
	return took
}

// awaitDestinations waits until the kernel has the real servers of a Service, and no other, for as long as patience lasts after
// begin. It looks so often.
func (r *rig) awaitDestinations(s *bench.Service, begin time.Time, every time.Duration) {
	r.b.Helper()
	want := addressesOf(s)
	for {
		got, err := r.kernel.destinations(s.Address)
		if err != nil {
			r.b.Fatal(err)
		}
		if slices.Equal(got, want) {
			return
		}
		if time.Since(begin) > *patience {
			r.b.Fatalf("after %v %s leads to %v, want %v", *patience, s.Name, got, want)
		}
		r.pause(every)
	}
}

// pause waits, but not for a process that has ended.
func (r *rig) pause(d time.Duration) {
	r.b.Helper()
	select {
	case <-r.process.Done():
		r.b.Fatalf("the proxy has ended: %v", r.process.Wait(context.Background()))
	case <-time.After(d):
	}
}

// A process is quiet when it used no more than a tenth of a CPU, and had no child, for longer than proxies hold changes back.
const (
	quietFor  = 3 * time.Second
	quietLook = 100 * time.Millisecond
	quietUse  = quietLook / 10
)

// awaitQuiet waits until the proxy is quiet, and says when that began, from the start, and what it had used until then. What a
// proxy does besides real servers - addresses, ipsets, iptables, and looking at all of it again - is done then, in whatever order.
func (r *rig) awaitQuiet() (since time.Duration, u usage) {
	r.b.Helper()
	busy, last := time.Now(), r.usage()
	u = last
	for limit := busy.Add(*patience); time.Since(busy) < quietFor; {
		if time.Now().After(limit) {
			r.b.Fatalf("the proxy is still busy after %v", *patience)
		}
		r.pause(quietLook)
		now := r.usage()
		if now.children || now.cpu-last.cpu > quietUse {
			busy, u = time.Now(), now
		}
		last = now
	}
	return busy.Sub(r.started), u
}

func (r *rig) usage() usage {
	r.b.Helper()
	u, err := usageOf(r.process)
	if err != nil {
		r.b.Fatal(err)
	}
	return u
}

// useFor is the CPU time that the proxy uses in a while.
func (r *rig) useFor(d time.Duration) time.Duration {
	r.b.Helper()
	before := r.usage()
	r.pause(d)
	return r.usage().cpu - before.cpu
}

// mustAnswer asks the Service whose pod answers.
func (r *rig) mustAnswer() {
	r.b.Helper()
	answer, err := r.client.Ask(context.Background(), "tcp", r.cluster[len(r.cluster)-1].Address)
	if err != nil {
		r.b.Fatalf("what was loaded does not work: %v", err)
	}
	if !serves(r.cluster[len(r.cluster)-1], answer.Server) {
		r.b.Fatalf("%v answers for a Service that it does not belong to", answer.Server)
	}
}

func serves(s bench.Service, server netip.AddrPort) bool {
	return slices.ContainsFunc(s.Endpoints, func(e bench.Endpoint) bool { return e.Address == server })
}

// changeEndpoints replaces one endpoint n times, each time of another Service, and when the proxy is quiet. It says what the median
// of the times is until the kernel shows it, and what CPU time one change takes, with the quiet time behind it.
func (r *rig) changeEndpoints(n int) (took, cpu time.Duration) {
	r.b.Helper()
	before := r.usage()
	var all []time.Duration
	for range n {
		r.changes++
		s := &r.cluster[r.changes*7%max(1, len(r.cluster)-1)] // never the last one, which answers
		s.Replace(r.changes)
		all = append(all, r.changeEndpoint(s))
		r.awaitQuiet()
	}
	used := r.usage().cpu - before.cpu
	return time.Duration(median(all, func(d time.Duration) float64 { return float64(d) })), used / time.Duration(n)
}

func (r *rig) changeEndpoint(s *bench.Service) time.Duration {
	r.b.Helper()
	_, slice := s.Objects()
	begin := time.Now()
	r.objects.Set(slice)
	r.awaitDestinations(s, begin, 2*time.Millisecond)
	return time.Since(begin)
}

func addressesOf(s *bench.Service) []netip.AddrPort {
	list := make([]netip.AddrPort, len(s.Endpoints))
	for i, e := range s.Endpoints {
		list[i] = e.Address
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}
