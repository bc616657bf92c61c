package apiserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	kyaml "sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

const manifests = "../../manifests/base"

// decode reads the objects of a file of the manifests, one for each pointer.
func decode(t *testing.T, file string, objects ...any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, file))
	if err != nil {
		t.Fatal(err)
	}
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer reader.Close()
	for _, object := range objects {
		document := make([]byte, len(text))
		n, err := reader.Read(document)
		if err == nil {
			err = kyaml.UnmarshalStrict(document[:n], object)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if n, err := reader.Read(make([]byte, len(text))); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: there are more objects: %d bytes, %v", file, n, err)
	}
}

// installed is a cluster in which Fairlead runs as a pod of the manifests does: with the token of its ServiceAccount, which has the rights
// of its ClusterRole and no others.
type installed struct {
	*cluster
	role          rbacv1.ClusterRole
	account       corev1.ServiceAccount
	relay         *relay
	first, second *lab.Host
	client        *lab.Host
	node          *corev1.Node
	other         bool // the endpoint of web is second
	services      int  // that have been created beside web
}

// install applies the manifests. What kustomize adds to them is the namespace, which the ClusterRoleBinding names already.
func install(t *testing.T) *installed {
	t.Helper()
	i := &installed{cluster: newCluster(t, "nft")}
	i.first, i.second = i.Pod(i.Nodes[0], "first", 8080), i.Pod(i.Nodes[0], "second", 8080)
	i.client = i.Pod(i.Nodes[0], "client", 9000)
	var binding rbacv1.ClusterRoleBinding
	decode(t, "rbac.yaml", &i.role, &binding)
	decode(t, "serviceaccount.yaml", &i.account)
	i.account.Namespace = binding.Subjects[0].Namespace

	rbac := i.cluster.client.RbacV1()
	role, errRole := rbac.ClusterRoles().Create(t.Context(), &i.role, metav1.CreateOptions{})
	_, errBinding := rbac.ClusterRoleBindings().Create(t.Context(), &binding, metav1.CreateOptions{})
	_, errAccount := i.cluster.client.CoreV1().ServiceAccounts(i.account.Namespace).Create(t.Context(), &i.account, metav1.CreateOptions{})
	node, errNode := i.cluster.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: i.Node().Name}}, metav1.CreateOptions{})
	if err := errors.Join(errRole, errBinding, errAccount, errNode); err != nil {
		t.Fatal(err)
	}
	i.role, i.node = *role, node
	i.relay = newRelay(t, i.Backbone, 6444, 6443)
	i.create(dualStack("web", 10), site.Slice(lab.IPv4, "web", "8080", site.At(lab.IPv4, i.first, i.Nodes[0])))
	for _, resource := range i.resources() {
		i.awaitRight(resource, true)
	}
	return i
}

// credentials writes what kubelet mounts into a pod.
func (i *installed) credentials() string {
	i.t.Helper()
	token, err := i.cluster.client.CoreV1().ServiceAccounts(i.account.Namespace).CreateToken(i.t.Context(), i.account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	dir := i.t.TempDir()
	for name, content := range map[string][]byte{
		"token": []byte(token.Status.Token), "ca.crt": i.plane.RESTConfig().CAData, "namespace": []byte(i.account.Namespace),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	return dir
}

// right is one of the ClusterRole: a resource of a group, and what may be done with it.
type right struct {
	group, resource string
	verbs           []string
}

func (i *installed) resources() (list []right) {
	for _, rule := range i.role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				list = append(list, right{group, resource, rule.Verbs})
			}
		}
	}
	return list
}

// without is the ClusterRole's rules, but for one resource.
func (i *installed) without(r right) (rules []rbacv1.PolicyRule) {
	for _, rule := range i.role.Rules {
		rule.Resources = slices.DeleteFunc(slices.Clone(rule.Resources), func(resource string) bool {
			return resource == r.resource && slices.Contains(rule.APIGroups, r.group)
		})
		if len(rule.Resources) > 0 {
			rules = append(rules, rule)
		}
	}
	return rules
}

// setRules changes the ClusterRole, and waits until a right is there or not.
func (i *installed) setRules(rules []rbacv1.PolicyRule, r right, allowed bool) {
	i.t.Helper()
	roles := i.cluster.client.RbacV1().ClusterRoles()
	role, err := roles.Get(i.t.Context(), i.role.Name, metav1.GetOptions{})
	if err == nil {
		role.Rules = rules
		_, err = roles.Update(i.t.Context(), role, metav1.UpdateOptions{})
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.awaitRight(r, allowed)
}

// awaitRight waits until the API server allows Fairlead's ServiceAccount something, or does not.
func (i *installed) awaitRight(r right, allowed bool) {
	i.t.Helper()
	for _, verb := range r.verbs {
		i.Eventually(fmt.Sprintf("%s %s: allowed is %v", verb, r.resource, allowed), func() error {
			review, err := i.cluster.client.AuthorizationV1().SubjectAccessReviews().Create(i.t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{
					User:               fmt.Sprintf("system:serviceaccount:%s:%s", i.account.Namespace, i.account.Name),
					ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Resource: r.resource},
				},
			}, metav1.CreateOptions{})
			if err == nil && review.Status.Allowed != allowed {
				err = errors.New(review.Status.String())
			}
			return err
		})
	}
}

// follows makes a change to a resource, and waits until Fairlead has followed it.
func (i *installed) follows(resource string) {
	i.t.Helper()
	switch resource {
	case "services":
		i.services++
		svc := servicetest.Service(fmt.Sprintf("more-%d", i.services), site.ClusterIP(lab.IPv4, 100+i.services).String(), "80")
		i.create(svc)
		i.refused(i.client, vip(lab.IPv4, 100+i.services))
	case "endpointslices":
		i.other = !i.other
		if err := i.setEndpoints(site.Slice(lab.IPv4, "web", "8080", site.At(lab.IPv4, i.endpoint(), i.Nodes[0]))); err != nil {
			i.t.Fatal(err)
		}
		i.leadsTo(i.Patience, i.client, vip(lab.IPv4, 10), i.endpoint().AddrPort(lab.IPv4, 8080))
	case "nodes":
		i.taint(corev1.Taint{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule})
		i.Serves(site.HealthzPort, "/healthz", 503)
		i.taint()
		i.Serves(site.HealthzPort, "/healthz", 200)
	case "events":
		i.serviceEvent(i.provoke().Name, 1)
	default:
		i.t.Fatalf("the manifests grant rights for %s, of which this test knows nothing", resource)
	}
}

// endpoint is the one of web.
func (i *installed) endpoint() *lab.Host {
	if i.other {
		return i.second
	}
	return i.first
}

func (i *installed) taint(taints ...corev1.Taint) {
	i.t.Helper()
	i.node.Spec.Taints = taints
	node, err := i.cluster.client.CoreV1().Nodes().Update(i.t.Context(), i.node, metav1.UpdateOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	i.node = node
}

// provoke creates a Service of which Fairlead writes an event, since its port for health checks is taken.
func (i *installed) provoke() (svc *corev1.Service) {
	i.t.Helper()
	i.services++
	svc = servicetest.Service(fmt.Sprintf("balanced-%d", i.services), site.ClusterIP(lab.IPv4, 100+i.services).String(), "80")
	svc.Spec.Type, svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort = "LoadBalancer", "Local", int32(32000+i.services)
	svc.Spec.AllocateLoadBalancerNodePorts = new(bool) // or the API server might choose the same port
	taken, err := i.Node().Listen("tcp", fmt.Sprintf(":%d", svc.Spec.HealthCheckNodePort))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { taken.Close() })
	i.create(svc)
	return svc
}

// serviceEvent waits until a Service has an event, which has been written so many times.
func (i *installed) serviceEvent(name string, times int32) {
	i.t.Helper()
	i.Eventually("the event on Service "+name, func() error {
		events, err := i.cluster.client.CoreV1().Events("default").List(i.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Service,involvedObject.name=" + name})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "FailedToStartServiceHealthcheck" && e.Count == times {
				return nil
			}
		}
		return fmt.Errorf("want count %d, the events are %v", times, events.Items)
	})
}

// replace deletes a Service, waits until Fairlead has followed, and creates it again.
func (i *installed) replace(svc *corev1.Service) {
	i.t.Helper()
	before := i.metric(`fairlead_services{ip_family="IPv4"}`)
	if err := i.cluster.client.CoreV1().Services(svc.Namespace).Delete(i.t.Context(), svc.Name, metav1.DeleteOptions{}); err != nil {
		i.t.Fatal(err)
	}
	i.Eventually("the Service is gone", func() error {
		if now := i.metric(`fairlead_services{ip_family="IPv4"}`); now != before-1 {
			return fmt.Errorf("there are %d, before %d", now, before)
		}
		return nil
	})
	i.create(svc)
}

// forbidden are the lines of the API server's metrics about requests that it has forbidden.
func (i *installed) forbidden() (lines []string) {
	i.t.Helper()
	text, err := i.cluster.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(i.t.Context())
	if err != nil {
		i.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "apiserver_request_total{") && strings.Contains(line, `code="403"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// requests are how many answers of a kind Fairlead has had from the API server, by its own metrics.
func (i *installed) requests(code, method string) int {
	i.t.Helper()
	return i.metric(fmt.Sprintf(`rest_client_requests_total{code=%q,`, code), fmt.Sprintf(`method=%q`, method))
}

// metric adds up those that begin in a way and have all of the words.
func (i *installed) metric(begin string, words ...string) (sum int) {
	i.t.Helper()
	_, text, err := i.Get(site.MetricsPort, "/metrics")
	if err != nil {
		i.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, begin) || slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):]))
		if err != nil {
			i.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// TestTheManifestsGrantWhatFairleadNeeds runs Fairlead with the rights of the manifests, with all of them first, and then without each.
func TestTheManifestsGrantWhatFairleadNeeds(t *testing.T) {
	i := install(t)
	before := i.forbidden()
	process := i.StartPod(i.credentials(), i.relay.address, "--cluster-cidr", site.PodCIDRs, "--iptables-variant", i.Variant,
		"--conntrack-max-per-core", "0", "-v", "4", site.ModeFlag("min-sync-period"), "100ms")
	i.Serves(site.HealthzPort, "/readyz", 200)
	t.Run("all", func(t *testing.T) {
		for _, right := range i.resources() {
			i.follows(right.resource)
		}
		t.Log("an event that comes again is patched")
		svc := i.provoke()
		i.serviceEvent(svc.Name, 1)
		i.replace(svc)
		i.serviceEvent(svc.Name, 2)
		for _, want := range []struct{ code, method string }{{"200", "GET"}, {"201", "POST"}, {"200", "PATCH"}} {
			if i.requests(want.code, want.method) == 0 {
				t.Errorf("no request %s was answered with %s", want.method, want.code)
			}
		}
		for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
			if n := i.requests("403", method); n > 0 {
				t.Errorf("%d requests %s were forbidden", n, method)
			}
		}
		if after := i.forbidden(); !slices.Equal(before, after) {
			t.Errorf("the API server has forbidden something: before\n%s\nafter\n%s", before, after)
		}
		if n := i.Log.Count("is forbidden"); n > 0 {
			t.Errorf("Fairlead names %d requests that were forbidden", n)
		}
	})
	for _, missing := range i.resources() {
		t.Run("without "+missing.resource, func(t *testing.T) { i.goesOnWithout(t, missing) })
	}
	select {
	case <-process.Done():
		t.Errorf("Fairlead has ended: %v", process.Wait(t.Context()))
	default:
	}
}

// goesOnWithout takes one right away, in a Fairlead that has to ask anew since its connections break, and gives it back.
func (i *installed) goesOnWithout(t *testing.T, missing right) {
	named, returned := fmt.Sprintf(`resource=%q`, missing.resource), fmt.Sprintf(`again" resource=%q`, missing.resource)
	errors, returns := i.Log.CountErrors(remedy(missing)), i.Log.Count(returned)
	i.setRules(i.without(missing), missing, false)
	i.relay.cut()
	if missing.resource == "events" {
		i.provoke()
	}
	i.Eventually("the missing right is named, with the remedy", func() error {
		if n := i.Log.CountErrors(remedy(missing)) - errors; n != 1 {
			return fmt.Errorf("%d errors", n)
		}
		return nil
	})
	if n := i.Log.CountErrors(named); n == 0 {
		t.Errorf("no error has %s", named)
	}
	i.leadsTo(i.Patience, i.client, vip(lab.IPv4, 10), i.endpoint().AddrPort(lab.IPv4, 8080))
	for _, right := range i.resources() {
		// An event is provoked by a Service.
		if right.resource != missing.resource && (right.resource != "events" || missing.resource != "services") {
			i.follows(right.resource)
		}
	}
	if i.requests("403", "GET")+i.requests("403", "POST")+i.requests("403", "PATCH") == 0 {
		t.Error("by the metrics, nothing was forbidden")
	}

	i.setRules(i.role.Rules, missing, true)
	i.follows(missing.resource)
	i.Eventually("the return of the right is logged", func() error {
		if n := i.Log.Count(returned) - returns; n != 1 {
			return fmt.Errorf("%s is logged %d times", returned, n)
		}
		return nil
	})
	if n := i.Log.CountErrors(remedy(missing)) - errors; n != 1 {
		t.Errorf("the missing right is named %d times", n)
	}
}

// remedy is what an error has to say of a missing right.
func remedy(missing right) string {
	if slices.Contains(missing.verbs, "watch") {
		return "list and watch " + missing.resource
	}
	return "create and patch " + missing.resource
}
