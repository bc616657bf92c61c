package fairlead

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/pkg/config"
)

func TestErrorsOfTheAPIServersSettingsNameTheRemedy(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, kubeconfig string
		want             []string
	}{
		{"none, outside of a cluster", "", []string{"--kubeconfig", "clientConnection.kubeconfig", "--manifests"}},
		{"no such file", "/nowhere/kubeconfig", []string{"--kubeconfig: ", "/nowhere/kubeconfig", "no such file"}},
		{"not a kubeconfig", write("nonsense\n"), []string{"--kubeconfig: ", "invalid kubeconfig"}},
		{"an empty one", write(""), []string{"--kubeconfig: ", "invalid kubeconfig"}},
		{"a context that does not exist", write("apiVersion: v1\nkind: Config\ncurrent-context: other\n"), []string{"--kubeconfig: ", "other"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.Kubeconfig = test.kubeconfig
			_, err := newREST(c)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestTheClientIsConfigured(t *testing.T) {
	c := config.Default()
	c.Master = "http://192.0.2.1:8080"
	r, err := newREST(c)
	if err != nil {
		t.Fatal(err)
	}
	if r.QPS != 5 || r.Burst != 10 || r.ContentType != "application/vnd.kubernetes.protobuf" || r.AcceptContentTypes != "application/vnd.kubernetes.protobuf,application/json" {
		t.Errorf("by default: %+v", r.ContentConfig)
	}
	c.Client = config.Client{ContentType: "application/json", QPS: 7, Burst: 8}
	if r, err = newREST(c); err != nil {
		t.Fatal(err)
	}
	if r.QPS != 7 || r.Burst != 8 || r.ContentType != "application/json" || r.AcceptContentTypes != "application/json" {
		t.Errorf("as configured: %+v", r.ContentConfig)
	}
}

func TestRenewalOfCredentialsSaysWhetherARestartIsNeeded(t *testing.T) {
	const head = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443'}}]\n"
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, user string
		restart    bool
	}{
		{"a token in the kubeconfig", "{token: secret}", true},
		{"a certificate in the kubeconfig", "{client-certificate-data: YQ==, client-key-data: YQ==}", true},
		{"a token in a file", "{tokenFile: " + token + "}", false},
		{"a certificate in a file", "{client-certificate: " + token + ", client-key: " + token + "}", false},
		{"a program", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: 'true', interactiveMode: Never}}", false},
		{"no user", "{}", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := config.Default()
			c.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(c.Kubeconfig, []byte(head+"users: [{name: u, user: "+test.user+"}]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := newREST(c)
			if err != nil {
				t.Fatal(err)
			}
			got := renewal(c, r)
			if strings.Contains(got, "restart Fairlead") != test.restart || !strings.Contains(got, c.Kubeconfig) {
				t.Errorf("got %q", got)
			}
		})
	}
}
