package apiserver

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func TestControlPlaneKeepsObjectsAcrossRestart(t *testing.T) {
	t.Parallel()
	var dialed atomic.Int32
	plane := startControlPlane(t, ControlPlaneConfig{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
	client := newClient(t, plane.RESTConfig())
	service := createService(t, client)
	slice := createSlice(t, client)

	if err := plane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Discovery().ServerVersion(); err == nil {
		t.Error("the API server answers although it was killed")
	}
	began := time.Now()
	if err := plane.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %v", time.Since(began))

	gotService, err := client.CoreV1().Services("default").Get(t.Context(), service.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if gotService.UID != service.UID || len(gotService.Spec.ClusterIPs) != 2 {
		t.Errorf("service is %+v after the restart, was %+v", gotService, service)
	}
	gotSlice, err := client.DiscoveryV1().EndpointSlices("default").Get(t.Context(), slice.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if gotSlice.UID != slice.UID || len(gotSlice.Endpoints) != 1 {
		t.Errorf("endpoint slice is %+v after the restart, was %+v", gotSlice, slice)
	}
	if dialed.Load() == 0 {
		t.Error("no client used the Dial function")
	}
}

func TestControlPlaneKubeconfigs(t *testing.T) {
	t.Parallel()
	plane := startControlPlane(t, ControlPlaneConfig{})
	admin := kubeconfigClient(t, plane, AdminUser)
	proxy := kubeconfigClient(t, plane, KubeProxyUser)

	service := createService(t, admin)
	got, err := proxy.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Items) != 2 { // The other one is "kubernetes".
		t.Errorf("kube-proxy sees %d services, want 2", len(got.Items))
	}
	if _, err := proxy.DiscoveryV1().EndpointSlices("").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	err = proxy.CoreV1().Services("default").Delete(t.Context(), service.Name, metav1.DeleteOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("kube-proxy deletes a service: error is %v, want forbidden", err)
	}
}

func TestControlPlaneOfAWholeClusterLetsNodesDoWhatNodesMay(t *testing.T) {
	t.Parallel()
	plane := startControlPlane(t, ControlPlaneConfig{WholeCluster: true})
	path, err := plane.Kubeconfig("system:node:node1", "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	nodes := newClient(t, config).CoreV1().Nodes()
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	if _, err := nodes.Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Errorf("a node makes its own object: %v", err)
	}
	other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}}
	if _, err := nodes.Create(t.Context(), other, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a node makes another's object: error is %v, want forbidden", err)
	}
	for _, file := range []string{plane.CAFile(), plane.ServiceAccountKeyFile()} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestControlPlaneStopLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var children []*exec.Cmd
	plane := startControlPlane(t, ControlPlaneConfig{
		Address:      "::1",
		ServiceCIDRs: "fd00:10:96::/112",
		Dir:          dir,
		Start: func(cmd *exec.Cmd) error {
			children = append(children, cmd)
			return startBound(cmd)
		},
	})
	if err := plane.Stop(); err != nil {
		t.Fatal(err)
	}
	if len(children) != 2 {
		t.Errorf("%d processes were started, want 2", len(children))
	}
	for _, child := range children {
		if err := syscall.Kill(child.Process.Pid, 0); err != syscall.ESRCH {
			t.Errorf("%s: signal 0 gives %v, want no such process", child.Path, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("files left: %v (error %v)", left, err)
	}
	if err := plane.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestControlPlaneReportsEarlyExit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plane := NewControlPlane(ControlPlaneConfig{Dir: dir, AdvertiseAddress: "2001:db8::1"})
	err := plane.Start(t.Context())
	if err == nil {
		t.Error("started with ClusterIPs of another family than the API server's", plane.Stop())
	} else if want := "kube-apiserver ended"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "family") {
		t.Errorf("error is %q, want %q and the reason", err, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files left: %v (error %v)", left, err)
	}
}

func TestControlPlaneNamesMissingProgram(t *testing.T) {
	t.Setenv("KUBE_APISERVER", filepath.Join(t.TempDir(), "none"))
	err := NewControlPlane(ControlPlaneConfig{}).Start(t.Context())
	if want := "hack/kube/build.sh kube-apiserver"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want it to name %q", err, want)
	}
}

// startControlPlane returns a control plane that runs until the test ends.
func startControlPlane(t *testing.T, config ControlPlaneConfig) *ControlPlane {
	t.Helper()
	plane := NewControlPlane(config)
	began := time.Now()
	if err := plane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(began))
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

func newClient(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func kubeconfigClient(t *testing.T, plane *ControlPlane, user string) kubernetes.Interface {
	t.Helper()
	path, err := plane.Kubeconfig(user)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, config)
}

func createService(t *testing.T, client kubernetes.Interface) *corev1.Service {
	t.Helper()
	both := corev1.IPFamilyPolicyRequireDualStack
	service, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			IPFamilyPolicy: &both,
			Ports:          []corev1.ServicePort{{Port: 80}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func createSlice(t *testing.T, client kubernetes.Interface) *discoveryv1.EndpointSlice {
	t.Helper()
	port := int32(8080)
	slice, err := client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "web-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.5"}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slice
}
