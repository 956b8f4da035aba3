{#
  A sample of rows counts exactly the flights that had arrived by their known-at time, recounted from the flights:
  none later, none missing.

  by: entity columns. hours: window name to length in hours. sample: rows recounted, at most.
#}
{% test counts_only_known_flights(model, flights, by, hours, sample=40) %}
with numbered as (
    select *, row_number() over (order by {{ by | join(', ') }}, known_at) - 1 as number, count(*) over () as total
    from {{ model }}
),

sampled as (
    select * from numbered where number % greatest(1, total // {{ sample }}) = 0
)
{% for name, length in hours.items() %}
select {{ by | join(', ') }}, known_at, '{{ name }}' as history, arrivals_{{ name }} as counted, recounted.arrivals as known
from sampled, lateral (
    select count(*) as arrivals
    from {{ flights }} as f
    where f.arrival < sampled.known_at
        and epoch_us(f.arrival) >= epoch_us(sampled.known_at) - {{ length }} * 3600000000
        {% for column in by %} and f.{{ column }} = sampled.{{ column }} {% endfor %}
) as recounted
where recounted.arrivals <> arrivals_{{ name }}
{{ "union all" if not loop.last }}
{% endfor %}
{% endtest %}
