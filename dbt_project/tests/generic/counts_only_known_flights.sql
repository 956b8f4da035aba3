{#
  A sample of rows counts exactly the flights that had arrived a while before their known-at time, recounted from the
  flights: none later, none missing.

  by: entity columns. hours: window name to length in hours. known_after: minutes. sample: rows recounted, at most.
#}
{% test counts_only_known_flights(model, flights, by, hours, known_after=10, sample=40) %}
with numbered as (
    select *, epoch_us(known_at) - {{ known_after }} * 60000000 as hour_end,
        row_number() over (order by {{ by | join(', ') }}, known_at) - 1 as number, count(*) over () as total
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
    where epoch_us(f.arrival) < sampled.hour_end
        and epoch_us(f.arrival) >= sampled.hour_end - {{ length }} * 3600000000
        {% for column in by %} and f.{{ column }} = sampled.{{ column }} {% endfor %}
) as recounted
where recounted.arrivals <> arrivals_{{ name }}
{{ "union all" if not loop.last }}
{% endfor %}
{% endtest %}
