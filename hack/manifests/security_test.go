package manifests

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// securityPage has a policy that users copy.
const securityPage = "../../docs/security.md"

func TestThePolicyForExternalIPsHasNoUnknownFields(t *testing.T) {
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```yaml\n")
	text, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("%s has no YAML", securityPage)
	}
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	policy, binding := the[*admissionv1.ValidatingAdmissionPolicy](t, objects), the[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects)
	if binding.Spec.PolicyName != policy.Name {
		t.Errorf("the binding is for policy %q, not %q", binding.Spec.PolicyName, policy.Name)
	}
}
