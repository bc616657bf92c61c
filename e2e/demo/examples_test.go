package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead/fairlead/e2e/lab"
)

const dir = "../../examples"

var comparePods = cmp.Options{cmp.AllowUnexported(pod{}), cmpopts.EquateComparable(netip.Addr{})}

func examplePod(name, node, ipv4, ipv6 string) pod {
	return pod{name: name, node: node, port: 8080, Addresses: lab.Addresses{IPv4: netip.MustParseAddr(ipv4), IPv6: netip.MustParseAddr(ipv6)}}
}

// theExamples reads a copy of the examples of this repository.
func theExamples(t *testing.T) (e *examples, copied string) {
	t.Helper()
	copied, err := copyFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(copied) })
	if e, err = readExamples(copied); err != nil {
		t.Fatal(err)
	}
	return e, copied
}

func TestTheExamplesHaveWhatTheDemoShows(t *testing.T) {
	e, _ := theExamples(t)
	got, err := e.pods()
	if err != nil {
		t.Fatal(err)
	}
	want := []pod{
		examplePod("my-app-1", "node1", "10.244.1.2", "fd00:10:244:1::2"),
		examplePod("my-app-2", "node1", "10.244.1.3", "fd00:10:244:1::3"),
		examplePod("my-app-3", "node2", "10.244.2.2", "fd00:10:244:2::2"),
	}
	if diff := cmp.Diff(want, got, comparePods); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if got := clusterAddress(e.services[clusterIPService], lab.IPv6).String(); got != "[fd00:10:96::10]:80" {
		t.Errorf("the cluster IP is %s", got)
	}
	if got := nodePort(e.services[nodePortService]); got != 30080 {
		t.Errorf("the node port is %d", got)
	}
}

func TestAPodComesAndGoesInTheFiles(t *testing.T) {
	e, copied := theExamples(t)
	before, err := e.pods()
	if err != nil {
		t.Fatal(err)
	}
	added := examplePod("my-app-4", "node2", "10.244.2.3", "fd00:10:244:2::3")
	steps := []struct {
		name string
		do   func(pod) error
		want []pod
	}{
		{"it comes", e.addPod, append(before[:3:3], added)},
		{"it goes", e.removePod, before},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			if err := step.do(added); err != nil {
				t.Fatal(err)
			}
			again, err := readExamples(copied)
			if err != nil {
				t.Fatal(err)
			}
			got, err := again.pods()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, got, comparePods); diff != "" {
				t.Errorf("pods in the files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExamplesThatDoNotFitAreNamed(t *testing.T) {
	tests := []struct {
		name, file, old, instead, want string
	}{
		{"no Service", "my-service.yaml", "  name: my-service\nspec", "  name: other\nspec", "no Service my-service"},
		{"one family", "my-service.yaml", `clusterIPs: [10.96.0.10, "fd00:10:96::10"]`, "clusterIPs: [10.96.0.10]", "needs two clusterIPs"},
		{"no node port", "my-nodeport.yaml", "nodePort: 30080", "", "no nodePort"},
		{"a typing error", "node.yaml", "labels:", "lables:", "node.yaml: document 1"},
		{"a pod in one slice only", "my-nodeport.yaml", "my-app-3", "my-app-5", "not in every EndpointSlice"},
		{"two addresses for a pod", "my-nodeport.yaml", "[10.244.1.2]", "[10.244.1.7]", "10.244.1."},
		{"two nodes for a pod", "my-nodeport.yaml", "nodeName: node2", "nodeName: node1", "elsewhere"},
		{"not an address", "my-service.yaml", "[10.244.1.2]", "[10.244.1]", "EndpointSlice my-service-ipv4"},
		{"nobody's", "my-service.yaml", "targetRef: {kind: Pod, namespace: default, name: my-app-1}", "", "needs a targetRef"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, copied := theExamples(t)
			path := filepath.Join(copied, test.file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), test.old) {
				t.Fatalf("%s does not say %q", test.file, test.old)
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), test.old, test.instead)), 0o600); err != nil {
				t.Fatal(err)
			}
			e, err := readExamples(copied)
			if err == nil {
				_, err = e.pods()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %q", err, test.want)
			}
		})
	}
}
