package apiserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// Names of the files with the API server's credentials.
const (
	caFile                 = "ca.crt"
	servingCertificateFile = "serving.crt"
	servingKeyFile         = "serving.key"
	serviceAccountKeyFile  = "service-account.key"

	kubeletClientCertificateFile = "kubelet-client.crt"
	kubeletClientKeyFile         = "kubelet-client.key"
)

// authority signs the certificates of one control plane: that of the API server
// and those by which its clients prove who they are.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// newAuthority makes an authority with a self-signed certificate.
func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	a := &authority{key: key}
	template := a.template("control-plane")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the authority: %w", err)
	}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

// template returns a certificate that has what all of them have in common.
func (a *authority) template(commonName string) *x509.Certificate {
	a.serial++
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: commonName},
		// A clock that is set back a little does no harm.
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.AddDate(1, 0, 0),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// issue signs the certificate and returns it with its key, both as PEM.
func (a *authority) issue(template *x509.Certificate) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of %s: %w", template.Subject, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the certificate of %s: %w", template.Subject, err)
	}
	key, err = privateKeyPEM(private)
	return certificatePEM(der), key, err
}

// issueClient returns a certificate that logs in as the user.
func (a *authority) issueClient(user string, groups ...string) (certificate, key []byte, err error) {
	template := a.template(user)
	template.Subject.Organization = groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(template)
}

// issueServing returns a certificate for an API server at these addresses.
func (a *authority) issueServing(ips []net.IP) (certificate, key []byte, err error) {
	template := a.template("kube-apiserver")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.IPAddresses = ips
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	return a.issue(template)
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func privateKeyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeCredentials makes the authority and the files of the API server.
func (c *ControlPlane) writeCredentials() error {
	var err error
	if c.ca, err = newAuthority(); err != nil {
		return err
	}
	certificate, key, err := c.ca.issueServing(c.serverIPs())
	if err != nil {
		return err
	}
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	signingKey, err := privateKeyPEM(signing)
	if err != nil {
		return err
	}
	kubeletClient, kubeletClientKey, err := c.ca.issueClient("kube-apiserver", mastersGroup)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		kubeletClientCertificateFile: kubeletClient,
		kubeletClientKeyFile:         kubeletClientKey,
		caFile:                       certificatePEM(c.ca.certificate.Raw),
		servingCertificateFile:       certificate,
		servingKeyFile:               key,
		serviceAccountKeyFile:        signingKey,
	} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serverIPs are the addresses at which clients may find the API server. They
// include those of the Service "kubernetes": the first of each service CIDR.
func (c *ControlPlane) serverIPs() []net.IP {
	ips := []net.IP{
		net.ParseIP(c.config.Address),
		net.ParseIP(c.config.AdvertiseAddress),
		net.IPv4(127, 0, 0, 1),
		net.IPv6loopback,
	}
	for _, cidr := range c.cidrs {
		ips = append(ips, cidr.Masked().Addr().Next().AsSlice())
	}
	return ips
}
