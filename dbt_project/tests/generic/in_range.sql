{# Values that are not null lie within [low, high], and there is at least one: what is undefined fails. #}
{% test in_range(model, column_name, low, high) %}
select {{ column_name }} as value
from {{ model }}
where {{ column_name }} < {{ low }} or {{ column_name }} > {{ high }} or isnan({{ column_name }}::double)
union all
select null as value
from (select count({{ column_name }}) as present from {{ model }})
where present = 0
{% endtest %}
