package scenarios

import (
	"reflect"

	"github.com/exsim/exsim/sim/org"
	"github.com/exsim/exsim/sim/yamlfile"
)

// Schema is the JSON Schema of a scenario file, made from the model.
func Schema() map[string]any {
	s := yamlfile.Schema(reflect.TypeFor[Scenario](), false)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "exsim scenario"
	s["anyOf"] = []any{map[string]any{"required": []string{"steps"}}, map[string]any{"required": []string{"path"}}}
	properties, _ := s["properties"].(map[string]any)
	fill := func(key string, with map[string]any) {
		if p, ok := properties[key].(map[string]any); ok {
			with["description"] = p["description"]
		}
		properties[key] = with
	}
	text := map[string]any{"type": []string{"string", "number", "boolean"}}
	fill("vars", map[string]any{"type": "object", "additionalProperties": text})
	fill("secrets", map[string]any{"type": "object", "additionalProperties": yamlfile.Schema(reflect.TypeFor[secret](), false)})
	fill("matrix", map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"array", "string"}, "items": text}})
	fill("organisation", yamlfile.Schema(reflect.TypeFor[org.Organisation](), true))
	step, entry := stepSchema()
	s["$defs"] = map[string]any{"step": step}
	fill("steps", map[string]any{"type": "array", "items": entry})
	return s
}

// stepSchema is the schema of a step, and that of an entry of the list of
// steps.
func stepSchema() (step, entry map[string]any) {
	byVerb := map[string]any{}
	for _, v := range verbs {
		s := yamlfile.Schema(reflect.TypeOf(v.make()), false)
		s["description"] = v.usage
		if v.name == "repeat" {
			inner, _ := s["properties"].(map[string]any)
			inner["steps"] = map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"$ref": "#/$defs/step"}}
		}
		byVerb[v.name] = s
	}
	one := map[string]any{"type": "object", "properties": byVerb, "additionalProperties": false, "minProperties": 1, "maxProperties": 1}
	ref := map[string]any{"$ref": "#/$defs/step"}
	branches := map[string]any{"type": "array", "minItems": 2, "items": map[string]any{"anyOf": []any{ref, map[string]any{"type": "array", "items": ref}}}}
	both := map[string]any{"type": "object", "properties": map[string]any{parallel: branches}, "required": []string{parallel}, "additionalProperties": false}
	return one, map[string]any{"anyOf": []any{ref, both}}
}

// JSONSchema is part of yamlfile.Schemer.
func (v *Value) JSONSchema() map[string]any {
	plain := []string{"string", "number", "boolean"}
	list := map[string]any{"type": "array", "items": map[string]any{"type": plain}}
	return map[string]any{"anyOf": []any{
		map[string]any{"type": plain},
		map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{
			"is": map[string]any{"type": plain}, "matches": map[string]any{"type": plain}, "lacks": map[string]any{"type": plain}, "in": list,
			"min": yamlfile.OrVariable(map[string]any{"type": "number"}), "max": yamlfile.OrVariable(map[string]any{"type": "number"}),
			"present": map[string]any{"type": "boolean"}, "absent": map[string]any{"type": "boolean"},
		}},
	}}
}
