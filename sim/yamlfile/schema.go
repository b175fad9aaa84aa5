package yamlfile

import (
	"encoding"
	"reflect"
)

// Schemer is implemented by a type that says itself what it takes.
type Schemer interface{ JSONSchema() map[string]any }

// Schema is the JSON Schema (draft 2020-12) of what Decode takes for a model,
// without the outermost $schema. With partial no key is required, as in
// DecodeOver.
func Schema(t reflect.Type, partial bool) map[string]any {
	if t.Kind() == reflect.Pointer {
		return Schema(t.Elem(), partial)
	}
	if s, ok := reflect.New(t).Interface().(Schemer); ok {
		return s.JSONSchema()
	}
	if t == durationType {
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|\$\{`}
	}
	if _, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, partial)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": Schema(t.Elem(), false)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": Schema(t.Elem(), false)}
	case reflect.Bool:
		return OrVariable(map[string]any{"type": "boolean"})
	case reflect.Float64:
		return OrVariable(map[string]any{"type": "number"})
	case reflect.String:
		return map[string]any{"type": []string{"string", "number", "boolean"}} // text is text, quoted or not
	}
	return OrVariable(map[string]any{"type": "integer"})
}

// OrVariable is a schema, or a text with a variable in it, which stands for
// what is wanted.
func OrVariable(schema map[string]any) map[string]any {
	return map[string]any{"anyOf": []any{schema, map[string]any{"type": "string", "pattern": `\$\{`}}}
}

func structSchema(t reflect.Type, partial bool) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fieldsOf(t).list {
		if f.typ == valueType {
			properties[f.name] = map[string]any{"description": f.doc}
			continue
		}
		s := Schema(f.typ, false)
		if f.doc != "" {
			s["description"] = f.doc
		}
		if f.otherwise != "" {
			s["default"] = f.otherwise
		}
		if f.enum != nil {
			delete(s, "type")
			s["anyOf"] = OrVariable(map[string]any{"enum": f.enum})["anyOf"]
		}
		if f.required && !partial {
			required = append(required, f.name)
		}
		properties[f.name] = s
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// Setting is a field of a model as a reference lists it.
type Setting struct {
	Name, Doc, Default string
	Required           bool
	Enum               []string
	Type               reflect.Type
}

// Settings lists the fields of a model in their order.
func Settings(t reflect.Type) []Setting {
	var list []Setting
	for _, f := range fieldsOf(t).list {
		list = append(list, Setting{f.name, f.doc, f.otherwise, f.required, f.enum, f.typ})
	}
	return list
}
