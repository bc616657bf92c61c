package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fairlead/fairlead/e2e/tracer"
)

// fakeKernel is a packet filter in memory, which counts what it is asked.
type fakeKernel struct {
	rules    *tracer.Ruleset
	variant  Variant
	restores [][]byte // the text of each restore
	fail     int      // how many restores fail from here on
}

func newFakeKernel() *fakeKernel { return &fakeKernel{rules: tracer.New(), variant: Legacy} }

func (k *fakeKernel) Variant() Variant  { return k.variant }
func (k *fakeKernel) RandomFully() bool { return true }

func (k *fakeKernel) Save(_ context.Context, out io.Writer) error {
	_, err := k.rules.WriteTo(out)
	return err
}

func (k *fakeKernel) Restore(_ context.Context, text []byte) error {
	if k.fail > 0 {
		k.fail--
		return errors.New("the kernel says no")
	}
	k.restores = append(k.restores, bytes.Clone(text))
	return k.rules.Restore(bytes.NewReader(text))
}

func (k *fakeKernel) Delete(j jump) error {
	rule := fmt.Sprintf("-D %s %s", j.from, strings.Join(j.spec(), " "))
	return k.rules.Restore(strings.NewReader("*" + j.table + "\n" + rule + "\nCOMMIT\n"))
}

// takeRestores returns the text of the restores since the last call.
func (k *fakeKernel) takeRestores() string {
	text := string(bytes.Join(k.restores, nil))
	k.restores = nil
	return text
}

// testBackend is a Backend over a kernel in memory.
func testBackend(options Options, k *fakeKernel) *Backend {
	b := New(options)
	b.open = func(_ context.Context, v Variant) (kernel, error) {
		if v != options.Variant {
			return nil, ErrNotInstalled
		}
		return k, nil
	}
	return b
}
