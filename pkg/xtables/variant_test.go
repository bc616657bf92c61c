package xtables

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAKernelWithoutNFTablesHasNoNFTVariant(t *testing.T) {
	tests := []struct {
		name    string
		answer  error
		without bool
	}{
		{"an answer", nil, false},
		{"nobody registered for nf_tables", fmt.Errorf("ask: %w", unix.EINVAL), true},
		{"no nfnetlink", fmt.Errorf("ask: %w", unix.EPROTONOSUPPORT), true},
		{"anything else says nothing of it", io.ErrUnexpectedEOF, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := nftUsable(test.answer); errors.Is(err, ErrNotInstalled) != test.without || (err != nil) != test.without {
				t.Errorf("got %v", err)
			}
		})
	}
}
