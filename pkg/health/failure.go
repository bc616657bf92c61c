package health

import (
	"errors"
	"fmt"
	"syscall"

	"k8s.io/apimachinery/pkg/types"
)

// reason is that of the event, as with kube-proxy.
const reason = "FailedToStartServiceHealthcheck"

// failure says why a Service's health check is not answered, or not on every address.
type failure struct {
	service types.NamespacedName
	port    uint16
	cause   error
	news    bool // the Service's owner has not been told yet
}

// Error names the Service, the port and, where there is one, the mend.
func (f *failure) Error() string {
	text := fmt.Sprintf("health check of Service %s on port %d: %v", f.service, f.port, f.cause)
	switch {
	case errors.Is(f.cause, syscall.EADDRINUSE):
		text += fmt.Sprintf("; find the program that listens on it (ss -ltnp 'sport = :%d') and stop it or give it another port", f.port)
	case errors.Is(f.cause, syscall.EADDRNOTAVAIL):
		text += "; this node does not have the address, or not yet"
	}
	return text
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// contested is the cause where two Services want the same port. The API server gives a port to one Service only, but manifests
// can be written by hand.
func contested(by types.NamespacedName) error {
	return fmt.Errorf("taken by Service %s; give one of the two another healthCheckNodePort", by)
}
