package service_test

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
)

// addresses compares addresses as values.
var addresses = cmp.Options{
	cmp.Comparer(func(x, y netip.Addr) bool { return x == y }),
	cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y }),
	cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }),
}
