package apiserver

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Users for whom Kubeconfig makes a file. Any other name works as well and has
// the rights that a test gives it by RBAC objects.
const (
	// AdminUser may do everything.
	AdminUser = "admin"
	// KubeProxyUser may do what the API server's built-in role
	// system:node-proxier allows, the least that a kube-proxy gets by with.
	KubeProxyUser = "system:kube-proxy"

	// mastersGroup is the group whose members may do everything.
	mastersGroup = "system:masters"
)

// RESTConfig returns a configuration for clients of the user AdminUser. It is
// nil if the control plane is not started.
func (c *ControlPlane) RESTConfig() *rest.Config {
	if c.admin == nil {
		return nil
	}
	return rest.CopyConfig(c.admin)
}

// CAFile is the path of the certificate that all others are signed with. The
// file lasts until Stop.
func (c *ControlPlane) CAFile() string { return c.file(caFile) }

// ServiceAccountKeyFile is the path of the key that service accounts' tokens
// are signed with. The file lasts until Stop.
func (c *ControlPlane) ServiceAccountKeyFile() string { return c.file(serviceAccountKeyFile) }

// Kubeconfig writes a kubeconfig file for the user, a member of the groups,
// and returns its path. The file lasts until Stop.
func (c *ControlPlane) Kubeconfig(user string, groups ...string) (string, error) {
	if c.ca == nil {
		return "", errors.New("write kubeconfig: the control plane is not started")
	}
	config, err := c.restConfig(user, groups...)
	if err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	// Neither character would do in a path that stands in $KUBECONFIG.
	name := strings.NewReplacer(":", "-", "/", "-").Replace(user)
	path := c.file(name + ".kubeconfig")
	err = clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"test": {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{user: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: user}},
		CurrentContext: "test",
	}, path)
	if err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	return path, nil
}

// restConfig returns a configuration with a new certificate for the user.
func (c *ControlPlane) restConfig(user string, groups ...string) (*rest.Config, error) {
	if user == AdminUser {
		groups = append(groups, mastersGroup)
	}
	certificate, key, err := c.ca.issueClient(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: "https://" + net.JoinHostPort(c.config.Address, strconv.Itoa(c.port.number)),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   certificatePEM(c.ca.certificate.Raw),
			CertData: certificate,
			KeyData:  key,
		},
		Dial: c.config.Dial,
		// The API server is near, whatever proxy the environment names.
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		// Client-go's default of 5 requests in a second would slow tests down.
		QPS: -1,
	}, nil
}
