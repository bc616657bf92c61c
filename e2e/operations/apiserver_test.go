package operations

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/listwatch"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// apiServer is a stand-in for an API server at the backbone, which can be away or refuse what it is asked for.
type apiServer struct {
	t       *testing.T
	host    *lab.Host
	address string
	objects *listwatch.Server

	mu      sync.Mutex
	server  *http.Server // nil while it is away
	fault   http.Handler // nil: none
	refused int          // requests that the fault has answered
}

func newAPIServer(s *site.Site, t *testing.T) *apiServer {
	a := &apiServer{t: t, host: s.Backbone, address: s.Backbone.AddrPort(lab.IPv4, 8080).String()}
	a.objects = listwatch.New(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Node().Name}})
	t.Cleanup(a.goAway)
	return a
}

// ServeHTTP implements http.Handler.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fault := a.fault
	if fault != nil {
		a.refused++
	}
	a.mu.Unlock()
	if fault == nil {
		fault = a.objects
	}
	fault.ServeHTTP(w, r)
}

// goAway breaks all connections, and refuses new ones.
func (a *apiServer) goAway() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		a.server.Close()
		a.server = nil
	}
}

// come listens.
func (a *apiServer) come() {
	a.t.Helper()
	listener, err := a.host.Listen("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	server := a.server
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			a.t.Error(err)
		}
	}()
}

// has breaks all connections, and answers as a fault does from then on; nil: as it should.
func (a *apiServer) has(fault http.Handler) {
	a.t.Helper()
	a.goAway()
	a.mu.Lock()
	a.fault, a.refused = fault, 0
	a.mu.Unlock()
	a.come()
}

func (a *apiServer) refusals() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// refuse answers everything with an error.
func refuse(err *apierrors.StatusError) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := err.Status()
		status.Kind, status.APIVersion = "Status", "v1"
		body, err := json.Marshal(&status)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Code))
		_, _ = w.Write(body)
	})
}

// lost is an API server that has lost its objects: it does not know what a watch goes on from, and lists nothing.
func lost() http.Handler {
	empty := listwatch.New()
	expired := refuse(apierrors.NewResourceExpired("too old resource version"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("watch") != "" && q.Get("sendInitialEvents") == "" && q.Get("resourceVersion") != "0" {
			expired.ServeHTTP(w, r)
			return
		}
		empty.ServeHTTP(w, r)
	})
}

// follower is a site whose Fairlead follows an API server that has a Service with one endpoint, the first pod, and some others.
type follower struct {
	*site.Site
	t      *testing.T
	api    *apiServer
	pods   [2]*lab.Host
	client *lab.Host
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	f := &follower{Site: site.New(t, "nft"), t: t}
	f.pods = [2]*lab.Host{f.Pod(f.Node(), "first", 8080), f.Pod(f.Node(), "second", 8080)}
	f.client = f.Pod(f.Node(), "client", 9000)
	f.api = newAPIServer(f.Site, t)
	for n := range 3 {
		f.api.objects.Set(servicetest.Service(fmt.Sprintf("more-%d", n), site.ClusterIP(lab.IPv4, 20+n).String(), "80"))
	}
	f.api.objects.Set(servicetest.Service("web", site.ClusterIP(lab.IPv4, 10).String(), "80"))
	f.endpoint(f.pods[0])
	f.StartOn("--master", "http://"+f.api.address)
	return f
}

func (f *follower) endpoint(pod *lab.Host) {
	f.api.objects.Set(site.Slice(lab.IPv4, "web", "8080", site.At(lab.IPv4, pod, f.Node())))
}

// leadsTo waits until a pod answers for the Service.
func (f *follower) leadsTo(pod *lab.Host) {
	f.t.Helper()
	f.Eventually("the Service leads to "+pod.Name, func() error {
		answer, err := f.client.Ask(f.t.Context(), "tcp", vip(lab.IPv4), lab.Timeout(lab.AttemptTimeout))
		if err == nil && answer.Server != pod.AddrPort(lab.IPv4, 8080) {
			err = fmt.Errorf("%s answers", answer.Server)
		}
		return err
	})
}

// logs waits until a text has been logged so many times.
func (f *follower) logs(text string, times int) {
	f.t.Helper()
	f.Eventually(fmt.Sprintf("%q is logged %d times", text, times), func() error {
		if n := f.Log.Count(text); n != times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

func TestAnAPIServerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	const away, back = "Cannot reach the API server", "The API server is reached again"
	f.logs(away, 1)
	f.Serves(site.HealthzPort, "/readyz", http.StatusServiceUnavailable)
	f.api.come()
	f.leadsTo(f.pods[0])
	f.Serves(site.HealthzPort, "/readyz", http.StatusOK)
	f.logs(back, 1)

	t.Log("it goes")
	f.api.goAway()
	f.logs(away, 2)
	f.leadsTo(f.pods[0])
	f.endpoint(f.pods[1])
	f.api.come()
	f.leadsTo(f.pods[1])
	f.logs(back, 2)
	if n := f.Log.Count(away); n != 2 {
		t.Errorf("%q is logged %d times", away, n)
	}
}

// TestAnAPIServerInTrouble breaks the connections, so that Fairlead has to ask anew, and lets an API server answer that cannot give what it
// is asked for.
func TestAnAPIServerInTrouble(t *testing.T) {
	t.Parallel()
	const again = "Watching the API server again"
	resources := []string{"services", "endpointslices", "nodes"}
	for _, test := range []struct {
		name           string
		fault          http.Handler
		says, returned string // once for each resource; "": nothing
		requests       int    // that show it for each resource
	}{
		{"it refuses the credentials", refuse(apierrors.NewUnauthorized("Unauthorized")), "the API server refuses the credentials", again, 2},
		{"it forbids everything", refuse(apierrors.NewForbidden(corev1.Resource("everything"), "", errors.New("no rights"))), "list and watch", again, 2},
		{"it fails", refuse(apierrors.NewInternalError(errors.New("no storage"))), "see that the API server is up", again, 2},
		{"it has lost its objects", lost(), "lacks most of what it had", "has all objects again", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFollower(t)
			f.api.come()
			f.Serves(site.HealthzPort, "/readyz", http.StatusOK)
			f.leadsTo(f.pods[0])
			f.api.has(test.fault)
			f.Eventually("everything has been asked for", func() error {
				if n := f.api.refusals(); n < test.requests*len(resources) {
					return fmt.Errorf("%d requests", n)
				}
				return nil
			})
			if test.says != "" {
				f.logs(test.says, len(resources))
			}
			f.leadsTo(f.pods[0])
			f.api.has(nil)
			f.endpoint(f.pods[1])
			f.leadsTo(f.pods[1])
			if test.says != "" {
				f.logs(test.returned, len(resources))
				f.logs(test.says, len(resources))
			}
		})
	}
}

// TestWithoutItsKubeconfigFairleadEndsAndTheRulesStay is what kubelet starts again until the file is there.
func TestWithoutItsKubeconfigFairleadEndsAndTheRulesStay(t *testing.T) {
	s, client := web(t, "nft")
	s.Start()
	s.Serves(site.HealthzPort, "/readyz", http.StatusOK)
	s.Stop(syscall.SIGTERM)
	before := s.Rules(lab.IPv4)
	process := s.StartProcess("--kubeconfig", "/nowhere/kubeconfig")
	if err := process.Wait(t.Context()); err == nil {
		t.Error("the exit status is 0")
	}
	if n := s.Log.CountErrors("/nowhere/kubeconfig"); n != 1 {
		t.Errorf("the file is named in %d errors", n)
	}
	if after := s.Rules(lab.IPv4); after != before {
		t.Errorf("the rules were\n%s\nand are\n%s", before, after)
	}
	s.Answers(client, "tcp", vip(lab.IPv4))
}

func TestAnAPIServerThatHasTooMuchToDoIsNamedOnce(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.api.come()
	f.Serves(site.HealthzPort, "/readyz", http.StatusOK)
	f.api.has(refuse(apierrors.NewTooManyRequestsError("try again later")))
	f.Eventually("everything has been asked for twice", func() error {
		if n := f.api.refusals(); n < 6 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	f.leadsTo(f.pods[0])
	const busy, answers = "puts off requests", "answers all requests again"
	f.logs(busy, 1)
	f.api.has(nil)
	f.endpoint(f.pods[1])
	f.leadsTo(f.pods[1])
	f.logs(answers, 1)
	f.logs(busy, 1)
}
