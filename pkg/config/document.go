package config

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// document is one of the YAML or JSON documents in a file.
type document struct {
	metav1.TypeMeta
	line int    // on which it begins
	text []byte // begins with as many empty lines as are before it in the file, so that messages have the right line
}

// split finds the documents in a file. Those with nothing but comments are left out. A line that begins with three hyphens separates
// documents wherever it is, even in a block of text.
func split(data []byte) ([]*document, error) {
	var all []*document
	var text bytes.Buffer
	begin, number := 1, 0
	end := func() error {
		defer text.Reset()
		if blank(text.Bytes()) {
			return nil
		}
		d := &document{line: begin, text: slices.Concat(bytes.Repeat([]byte("\n"), begin-1), text.Bytes())}
		if err := yaml.Unmarshal(d.text, &d.TypeMeta); err != nil {
			return fmt.Errorf("the document in line %d is neither YAML nor JSON: %s", d.line, plain(err))
		}
		all = append(all, d)
		return nil
	}
	for line := range bytes.Lines(data) {
		number++
		rest, separator := bytes.CutPrefix(line, []byte("---"))
		if !separator || len(bytes.TrimSpace(rest)) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			text.Write(line)
			continue
		}
		if err := end(); err != nil {
			return nil, err
		}
		begin = number
		text.Write(bytes.TrimLeft(rest, " \t"))
	}
	return all, end()
}

// blank reports whether there is nothing in a document but comments and directives.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "..." {
			return false
		}
	}
	return true
}

// decode reads a document into v. Fields that are unknown or doubled do not keep it from being read; odd names them. All else that is
// wrong is in faults, each with the field's path.
func decode[T any](d *document, v *T) (odd []string, faults []error) {
	data, strictErr := yaml.YAMLToJSONStrict(d.text)
	if text := bytes.TrimSpace(d.text); stdjson.Valid(text) {
		data = text
	} else if strictErr != nil {
		odd = strings.Split(plain(strictErr), "\n")
		var err error
		if data, err = yaml.YAMLToJSON(d.text); err != nil {
			return nil, []error{fmt.Errorf("the document in line %d is neither YAML nor JSON: %s", d.line, plain(err))}
		}
	}
	strict, err := json.UnmarshalStrict(data, v)
	for _, e := range strict {
		odd = append(odd, e.Error())
	}
	if err == nil {
		return odd, nil
	}
	return odd, faultsOf[T](data, err)
}

// plain takes from an error what YAML's packages put before the point.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "yaml: ", "unmarshal errors:\n", "json: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// faultsOf finds the fields of a document that cannot be read into a T, one by one: JSON's errors name the first one only, and a
// duration not even by its field. whole is the error that reading all of them had.
func faultsOf[T any](data []byte, whole error) []error {
	var fields map[string]any
	if err := stdjson.Unmarshal(data, &fields); err != nil {
		return []error{fmt.Errorf("is no document with fields: %s", plain(err))}
	}
	if all := search[T](nil, fields); len(all) > 0 {
		return all
	}
	return []error{whole}
}

// search names what is wrong with the fields below a path.
func search[T any](path []string, fields map[string]any) (all []error) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		below := append(slices.Clone(path), key)
		err := read[T](below, fields[key])
		if err == nil {
			continue
		}
		if inner, ok := fields[key].(map[string]any); ok {
			if deeper := search[T](below, inner); len(deeper) > 0 {
				all = append(all, deeper...)
				continue
			}
		}
		value, _ := stdjson.Marshal(fields[key])
		all = append(all, fmt.Errorf("%s: %s cannot be read; %s", strings.Join(below, "."), value, wanted[T](below, err)))
	}
	return all
}

// read tries to read a T of which nothing is said but the field at a path.
func read[T any](path []string, value any) error {
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	data, err := stdjson.Marshal(value)
	if err != nil {
		return err
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(data, new(T)); err == nil {
		return nil
	}
	// That error's type is hidden, and this one says the same.
	return stdjson.Unmarshal(data, new(T))
}

// wanted says what the field at a path has to hold, as far as the error tells that reading it had.
func wanted[T any](path []string, err error) string {
	var wrong *stdjson.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return plain(err)
	}
	switch kind := wrong.Type.Kind(); kind {
	case reflect.Bool:
		return "it has to be true or false"
	case reflect.String:
		if read[T](path, "30s") == nil && read[T](path, "30") != nil {
			return `it has to be a duration such as "30s"`
		}
		return "it has to be a text, in quotation marks where YAML takes it for something else"
	case reflect.Slice:
		return "it has to be a list"
	case reflect.Float32, reflect.Float64:
		return "it has to be a number"
	case reflect.Map, reflect.Struct:
		return "it has to be fields with their values"
	default:
		return fmt.Sprintf("it has to be a whole number (%s)", kind)
	}
}
